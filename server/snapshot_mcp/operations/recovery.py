"""Settle open attempts: find out whether writes whose outcome is not recorded took effect.

An attempt is open if its process ended before it recorded the outcome, or if the outcome was
unknown when the process stopped looking. Only what the cloud shows is recorded: the effect as soon
as it is there, and its absence only when the cloud can no longer be processing the request. Until
then the attempt stays open, and is checked again before later operations and at the next start.
"""

import logging
from datetime import datetime, timedelta

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.reconcile import find_effect
from snapshot_mcp.consent.write import Write, created_id
from snapshot_mcp.consent.write_once import REFUSED_REASON
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import SnapshotMcpError, error_kind
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import CLOUD, Row, attempt_from_row
from snapshot_mcp.operations.create_image import CreateImage
from snapshot_mcp.operations.create_snapshot import CreateSnapshot
from snapshot_mcp.operations.delete_rehearsal_vm import DeleteRehearsalVm
from snapshot_mcp.operations.delete_snapshot import DeleteSnapshot
from snapshot_mcp.operations.restore_snapshot import RestoreSnapshot

PROCESSING_LIMIT = timedelta(minutes=10)
"""The time after which the cloud can no longer be processing a request.

A request is repeated for up to 20 s after its "sent" row, and a call ends after 300 s at most.
Common gateways pass a request on for 60 to 300 s. The rest allows for clocks that differ.
"""

LOOKUP_LIMIT = timedelta(days=1)
"""The time after which a missing effect proves nothing: what was created may be deleted again."""

RECHECK_INTERVAL_SECONDS = 5.0
RECHECK_TIMEOUT_SECONDS = 5.0
"""Limit of the checks before one operation."""

MAX_CLOCK_DRIFT_SECONDS = 60.0
"""If the time of day moves by more, compared with the monotonic time, then it was set."""

_MAX_RECHECKS = 10
_BATCH = "apply_retention"
_WRITES = {
    write.tool: write
    for write in (CreateSnapshot, RestoreSnapshot, DeleteSnapshot, CreateImage, DeleteRehearsalVm)
}

logger = logging.getLogger(__name__)


class Recovery:
    """Settles the open attempts on one cloud.

    Args:
        ledger: the ledger.
        reader: the reading half of the cloud client.
        clock: source of time.
        cloud: the cloud, as the ledger names it.
    """

    def __init__(self, ledger: Ledger, reader: CloudReader, clock: Clock, cloud: str) -> None:
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._cloud = cloud
        self._lock = anyio.Lock()
        self._any_open = False
        self._next_check = 0.0
        self._first_seen: dict[str, float] = {}
        self._drift = self._current_drift()
        self._clock_set_at: float | None = None

    async def settle(self, limit: int | None = None) -> None:
        """Record the outcomes of open attempts, as far as the cloud shows them.

        If several processes do so at the same time, one of them records each outcome. If the cloud
        or the ledger cannot be read now, the attempts stay open.

        Args:
            limit: maximum number of attempts to check; None for all.
        """
        self._notice_clock_changes()
        self._ledger.has_unknown, self._any_open = False, True
        try:
            rows = await self._ledger.open_attempts(self._clock.now() - LOOKUP_LIMIT)
            # A batch can be settled after its deletions.
            rows.sort(key=lambda row: row.tool == _BATCH)
            for row in rows[:limit]:
                await self._settle_one(row)
            self._any_open = bool(rows)
            if any(row.event == "sent" for row in rows):
                await self._ledger.unsettled()  # removes lock files of dead processes
        except SnapshotMcpError as error:
            logger.warning("open writes could not be settled: %s", error_kind(error))
        finally:
            self._next_check = self._clock.monotonic() + RECHECK_INTERVAL_SECONDS

    async def settle_again(self) -> None:
        """Check the open attempts again if there are any and the last check was a while ago."""
        self._notice_clock_changes()
        if not (self._any_open or self._ledger.has_unknown) or self._lock.locked():
            return
        if self._clock.monotonic() < self._next_check:
            return
        async with self._lock:
            with anyio.move_on_after(RECHECK_TIMEOUT_SECONDS):
                await self.settle(_MAX_RECHECKS)

    async def _settle_one(self, row: Row) -> None:
        if attempt_from_row(row).arguments.get(CLOUD, self._cloud) != self._cloud:
            return
        if row.tool == _BATCH:
            await self._settle_batch(row)
            return
        write = _write_from_row(row)
        if write is None:
            return
        lookup = await find_effect(write, self._reader, self._clock, ())
        if not lookup.conclusive:
            return
        if lookup.effect is not None:
            if row.reason != REFUSED_REASON or write.is_certain(lookup.effect):
                remark = write.remark(lookup.effect)
                reason = _reason(row, "shows") + (f"; {remark}" if remark else "")
                result_id = created_id(lookup.effect)
                await self._ledger.settle(row, "done", reason, result_id=result_id)
        elif self._may_be_processed(row):
            return
        elif self._is_too_late(row):
            await self._ledger.settle(row, "unknown", _TOO_LATE)
        else:
            await self._ledger.settle(row, "failed", _reason(row, "does not show"))

    async def _settle_batch(self, batch: Row) -> None:
        """Record how far an interrupted batch came, once each of its deletions has an outcome."""
        counts = await self._ledger.count_batch(batch.attempt)
        if counts.open:
            return
        event = "unknown" if counts.unknown else "failed"
        await self._ledger.settle(batch, event, f"settled after a crash: interrupted; {counts}")

    def _current_drift(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _notice_clock_changes(self) -> None:
        drift = self._current_drift()
        if abs(drift - self._drift) > MAX_CLOCK_DRIFT_SECONDS:
            self._clock_set_at = self._clock.monotonic()
        self._drift = drift

    def _may_be_processed(self, row: Row) -> bool:
        now, limit = self._clock.monotonic(), PROCESSING_LIMIT.total_seconds()
        if self._clock_set_at is not None and now - self._clock_set_at < limit:
            return True  # the age of the row is not known
        first_seen = self._first_seen.setdefault(row.attempt, now)
        age = self._age(row)
        if age < timedelta():  # another machine wrote the row, and its clock is ahead
            age = timedelta(seconds=now - first_seen)
        return age < PROCESSING_LIMIT

    def _is_too_late(self, row: Row) -> bool:
        return row.tool != DeleteSnapshot.tool and self._age(row) > LOOKUP_LIMIT

    def _age(self, row: Row) -> timedelta:
        return self._clock.now() - datetime.fromisoformat(row.at)


_TOO_LATE = (
    "settled after a crash: the cloud does not show it, but it was sent more than a day ago and may"
    " have been deleted since"
)


def _reason(row: Row, verb: str) -> str:
    when = "later" if row.event == "unknown" else "after a crash"
    return f"settled {when}: the cloud {verb} it"


def _write_from_row(row: Row) -> Write[object] | None:
    write = _WRITES.get(row.tool)
    return None if write is None else write.from_row(row)
