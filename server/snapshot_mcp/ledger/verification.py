"""Verification of a whole ledger: the schema, the hash chain, the mark and the MACs.

This module does no I/O beyond reading the rows that it is given.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from snapshot_mcp.ledger.chain import MISSING_MARK_PROBLEM, Row, find_problems
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import Mark
from snapshot_mcp.ledger.store import ChainSnapshot

_NO_KEY = (
    "The MACs were not checked, because there is no signing key here. Set"
    " SNAPSHOT_MCP_SIGNING_KEY or SNAPSHOT_MCP_SIGNING_KEY_FILE as for the server."
)
_FOREIGN = (
    "written or altered without the signing key, or the key was replaced, or the ledger is that of"
    " another server"
)


class LedgerReport(NamedTuple):
    """The result of a verification.

    Attributes:
        problems: one sentence for each sign that the ledger was altered or lost rows.
        has_rows: whether the ledger was ever used.
        losses: the rows with which problems were acknowledged.
        notes: sentences about what the MACs do not protect, or what was not checked.
    """

    problems: list[str]
    has_rows: bool
    losses: list[Row]
    notes: list[str]


def verify_snapshot(snapshot: ChainSnapshot, macs: LedgerMacs | None) -> LedgerReport:
    """Verify the rows and the mark of a ledger.

    Args:
        snapshot: the stored ledger.
        macs: checks the MACs; None without the signing key.
    """
    check = _MacCheck(macs)
    mark = snapshot.mark and snapshot.mark[:2]
    found = list(find_problems(check.observe(snapshot.rows), snapshot.counter, mark))
    found += check.find_problems(snapshot.mark)
    notes = [*check.describe_limits()]
    if macs is None and check.first_with_mac:
        notes.append(_NO_KEY)
    return LedgerReport(snapshot.problems + found, snapshot.counter > 0, check.losses, notes)


class _Range(NamedTuple):
    """Rows that follow each other."""

    first: int
    last: int

    def describe(self, one: str, several: str) -> str:
        if self.first == self.last:
            return f"Row {self.first}: {one}"
        return f"Rows {self.first} to {self.last}: {several}"


class _MacCheck:
    """Checks the MACs of rows, one row after the other.

    Attributes:
        first_with_mac: id of the first row with a MAC; 0 if there is none.
        losses: the rows with which problems were acknowledged.
    """

    def __init__(self, macs: LedgerMacs | None) -> None:
        self._macs = macs
        self._last = 0
        self._without: list[_Range] = []
        self._misfits: list[_Range] = []
        self._acknowledged: list[tuple[_Range, int]] = []
        self.first_with_mac = 0
        self.losses: list[Row] = []

    def observe(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows unchanged, and check them."""
        for row in rows:
            self._check(row)
            yield row

    def find_problems(self, mark: Mark | None) -> Iterator[str]:
        """Yield one sentence for each group of rows, and for the mark, that was not authentic."""
        for rows in self._without:
            before = f"although row {self.first_with_mac} has one"
            yield rows.describe(f"it has no MAC, {before}.", f"they have no MAC, {before}.")
        for rows in self._misfits:
            yield rows.describe(
                f"its MAC does not fit: it was {_FOREIGN}.",
                f"their MACs do not fit: they were {_FOREIGN}.",
            )
        yield from self._find_mark_problems(mark)

    def describe_limits(self) -> Iterator[str]:
        """Yield one sentence for each group of rows that only the chain protects."""
        if not self._last:
            return
        if not self.first_with_mac:
            yield (
                f"Rows 1 to {self._last} have no MAC: they were written by an earlier version, or"
                " all MACs were removed."
            )
        elif self.first_with_mac > 1:
            end = self.first_with_mac - 1
            yield (
                f"Rows 1 to {end} have no MAC, because an earlier version wrote them. Row"
                f" {self.first_with_mac} protects them as they were then."
            )
        for rows, row_id in self._acknowledged:
            yield rows.describe(
                f"its MAC was not made with this signing key; row {row_id} acknowledges it.",
                f"their MACs were not made with this signing key; row {row_id} acknowledges it.",
            )

    def _check(self, row: Row) -> None:
        self._last = row.id
        if not row.mac:
            if self.first_with_mac:
                _extend(self._without, row.id)
        else:
            self.first_with_mac = self.first_with_mac or row.id
            if self._macs is not None and not self._macs.fits_row(row.hash, row.mac):
                _extend(self._misfits, row.id)
            elif row.event == "lost":
                # The operator has accepted that the rows before have the MACs of another key.
                self._acknowledged += [(rows, row.id) for rows in self._misfits]
                self._misfits.clear()
        if row.event == "lost":
            self.losses.append(row)

    def _find_mark_problems(self, mark: Mark | None) -> Iterator[str]:
        if mark is not None and not mark.hash:
            return  # reported with the chain
        if mark is None:
            if self.first_with_mac:
                yield MISSING_MARK_PROBLEM
        elif not mark.mac:
            if self.first_with_mac:
                yield "The mark of the ledger has no MAC, so it was altered."
        elif self._macs is not None and not self._macs.fits_mark(mark):
            yield f"The MAC of the ledger's mark does not fit: it was {_FOREIGN}."
        elif not self.first_with_mac and mark.row < self._last:
            yield f"The MACs of the rows were removed: the mark shows that row {mark.row} had one."


def _extend(ranges: list[_Range], row_id: int) -> None:
    if ranges and ranges[-1].last == row_id - 1:
        ranges[-1] = ranges[-1]._replace(last=row_id)
    else:
        ranges.append(_Range(row_id, row_id))
