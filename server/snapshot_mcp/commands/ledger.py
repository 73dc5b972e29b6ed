"""`snapshot-mcp ledger`: what was attempted, and whether the record is whole."""

import argparse
import os

import anyio

from snapshot_mcp import exit_codes
from snapshot_mcp.clock import utc_now
from snapshot_mcp.ledger import Ledger
from snapshot_mcp.ledger_view import as_json, as_text
from snapshot_mcp.settings import LEDGER_FILE, read_data_folder


def run_ledger(arguments: argparse.Namespace) -> int:
    """Show rows of the ledger, or verify it; the exit code.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    ledger = Ledger(read_data_folder(os.environ) / LEDGER_FILE, utc_now)
    if arguments.action == "verify":
        problems = anyio.run(ledger.verify)
        print("\n".join(problems) if problems else "The ledger is whole.")
        return exit_codes.FAILED if problems else exit_codes.OK
    rows = anyio.run(
        lambda: ledger.rows(
            tool=arguments.tool,
            event=arguments.event,
            since=arguments.since,
            limit=arguments.limit,
        )
    )
    if rows:
        print((as_json if arguments.json else as_text)(rows))
    return exit_codes.OK
