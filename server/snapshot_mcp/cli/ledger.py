"""`snapshot-mcp ledger`: show the recorded attempts, or verify the ledger."""

import argparse
import os

import anyio

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.formatting import format_json, format_text
from snapshot_mcp.settings.environment import read_data_folder, read_database_url


def run_ledger(arguments: argparse.Namespace) -> int:
    """Show rows of the ledger, or verify it, and return the exit code.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    folder, url = read_data_folder(os.environ), read_database_url(os.environ)
    with open_ledger_backend(folder, url, utc_now) as backend:
        if arguments.action == "verify":
            return _verify(backend.ledger)
        return _print_rows(backend.ledger, arguments)


def _verify(ledger: Ledger) -> int:
    problems = anyio.run(ledger.verify)
    print("\n".join(problems) if problems else "The ledger is intact.")
    return exit_codes.FAILED if problems else exit_codes.OK


def _print_rows(ledger: Ledger, arguments: argparse.Namespace) -> int:
    rows = anyio.run(
        lambda: ledger.rows(
            tool=arguments.tool,
            event=arguments.event,
            since=arguments.since,
            limit=arguments.limit,
        )
    )
    if rows:
        print((format_json if arguments.json else format_text)(rows))
    return exit_codes.OK
