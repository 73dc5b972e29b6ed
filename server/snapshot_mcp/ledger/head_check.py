"""Checks of the last rows, and of the record of a plan, before the ledger is relied on."""

from typing import NamedTuple

from snapshot_mcp.core.errors import RefusedError
from snapshot_mcp.ledger.chain import FIRST_PREVIOUS_HASH, Event, compute_hash
from snapshot_mcp.ledger.errors import ForeignKeyError, lost_rows_error, unrecorded_plan_error
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import Mark
from snapshot_mcp.ledger.store import LedgerTransaction, RowFilter


class LastAppend(NamedTuple):
    """The last row that this process appended, and when."""

    mark: Mark
    at: str


def find_loss(
    transaction: LedgerTransaction, macs: LedgerMacs, seen: LastAppend | None
) -> RefusedError | None:
    """Return the error for plans if the ledger does not have its last rows any more.

    Args:
        transaction: reads the ledger.
        macs: checks the MACs.
        seen: the last row that this process appended.
    """
    # Read these first: others may append meanwhile, and what is read later may lead the rows.
    mark, counter = transaction.mark(), transaction.counter()
    last = transaction.last_link()
    if counter > last.row or not _has_row(transaction, mark):
        return lost_rows_error()
    if forgery := _find_forgery(mark, last, macs):
        return forgery
    if seen is None or _has_row(transaction, seen.mark):
        return None
    # A file can be put back together with its mark, but not the memory of this process.
    if transaction.select(RowFilter(event="lost", since=seen.at, limit=1)):
        return None
    return lost_rows_error()


def check_recorded(
    transaction: LedgerTransaction, macs: LedgerMacs, plan_id: str, event: Event
) -> None:
    """Check that the ledger has a record of this plan that was written with the signing key.

    Raises:
        RefusedError: it has none.
    """
    row = transaction.find_valid_event(plan_id, event)
    if row is None or row.hash != compute_hash(row) or not macs.fits_row(row.hash, row.mac):
        raise unrecorded_plan_error()


def _has_row(transaction: LedgerTransaction, mark: Mark | None) -> bool:
    if mark is None or (mark.row, mark.hash) == (0, FIRST_PREVIOUS_HASH):
        return True
    return transaction.hash_of(mark.row) == mark.hash != ""


def _find_forgery(mark: Mark | None, last: Mark, macs: LedgerMacs) -> RefusedError | None:
    """Return the error if the last row or the mark has no MAC, or one that does not fit."""
    if last.mac and not macs.fits_row(last.hash, last.mac):
        return ForeignKeyError()
    if mark is None or not mark.mac:
        return lost_rows_error() if last.mac else None
    if not macs.fits_mark(mark):
        return ForeignKeyError()
    # No row has a MAC yet right after an update; then the mark protects the last row.
    is_protected = bool(last.mac) or mark[:2] == last[:2]
    return None if is_protected else lost_rows_error()
