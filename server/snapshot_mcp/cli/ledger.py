"""`snapshot-mcp ledger`: what was attempted, and whether the record is whole."""

import argparse
import os

import anyio

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.formatting import as_json, as_text
from snapshot_mcp.settings.environment import read_data_folder, read_database_url


def run_ledger(arguments: argparse.Namespace) -> int:
    """Show rows of the ledger, or verify it; the exit code.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    folder, url = read_data_folder(os.environ), read_database_url(os.environ)
    with open_ledger_backend(folder, url, utc_now) as records:
        if arguments.action == "verify":
            return _verified(records.ledger)
        return _shown(records.ledger, arguments)


def _verified(ledger: Ledger) -> int:
    problems = anyio.run(ledger.verify)
    print("\n".join(problems) if problems else "The ledger is whole.")
    return exit_codes.FAILED if problems else exit_codes.OK


def _shown(ledger: Ledger, arguments: argparse.Namespace) -> int:
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
