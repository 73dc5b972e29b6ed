"""`snapshot-mcp ledger`: show the recorded attempts, verify the ledger, acknowledge a loss."""

import argparse
import os

import anyio

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.sanitize import sanitize
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.formatting import format_json, format_text
from snapshot_mcp.settings.environment import (
    read_data_folder,
    read_database_url,
    read_signing_key,
)
from snapshot_mcp.settings.signing_key import SigningKey


def run_ledger(arguments: argparse.Namespace) -> int:
    """Show or verify the ledger, or acknowledge a loss of rows, and return the exit code.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    folder, url = read_data_folder(os.environ), read_database_url(os.environ)
    key = SigningKey(read_signing_key(os.environ), folder)
    with open_ledger_backend(folder, url, utc_now, key) as backend:
        match arguments.action:
            case "verify":
                return _verify(backend.ledger)
            case "acknowledge":
                return _acknowledge(backend.ledger)
            case _:
                pass
        return _print_rows(backend.ledger, arguments)


def _verify(ledger: Ledger) -> int:
    report = anyio.run(ledger.inspect)
    if report.problems:
        print("\n".join(report.problems))
    elif report.has_rows:
        print("The ledger is intact.")
    else:
        print("There is no ledger yet: the first change creates it.")
    for note in report.notes:
        print(note)
    for loss in report.losses:
        print(f"Acknowledged at {loss.at}, in row {loss.id}: {sanitize(loss.reason).text}")
    return exit_codes.FAILED if report.problems else exit_codes.OK


def _acknowledge(ledger: Ledger) -> int:
    problems = anyio.run(ledger.verify)
    if not problems:
        print("Nothing is missing from the ledger, so there is nothing to acknowledge.")
        return exit_codes.OK
    anyio.run(ledger.acknowledge_loss, problems[0])
    print("\n".join(problems))
    print("This is acknowledged in the ledger: new plans can be made. Earlier plans stay invalid.")
    return exit_codes.OK


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
