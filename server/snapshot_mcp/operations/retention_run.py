"""The commit of a retention plan: snapshots are deleted one by one, each checked and recorded.

The run stops at the first deletion with an unknown outcome, and when nothing more can be sent. The
report covers what was done until then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.gate import Permit
from snapshot_mcp.consent.plan_tokens import digest
from snapshot_mcp.core.errors import (
    BadRequestError,
    CloudError,
    ConflictError,
    NotAcceptedError,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    RefusedError,
    SnapshotMcpError,
)
from snapshot_mcp.core.request_context import current_caller
from snapshot_mcp.ledger.chain import Event
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.retention import NamedSnapshot, RetentionReport, SkippedSnapshot
from snapshot_mcp.operations.delete_snapshot import EARLIER_DELETION, DeleteSnapshot
from snapshot_mcp.operations.listing import read_copies
from snapshot_mcp.operations.lookups import read_snapshot
from snapshot_mcp.operations.notifications import announce_change
from snapshot_mcp.operations.planned_write import WriteContext
from snapshot_mcp.operations.polling import poll_until
from snapshot_mcp.rules.retention_batch import (
    count_needed_copies,
    deletion_obstacle,
    drift_facts,
    kept_copies,
    total_gigabytes,
)

_GONE = "it is already gone"
_CHANGED = "it has changed since the plan was made"
_DELETION_TIMEOUT_SECONDS = 10.0

_Verdict = Snapshot | str
"""The snapshot as it is now if it may be deleted; otherwise the reason why it is kept."""


class _KeptError(RefusedError):
    """The next snapshot of the plan is kept; the message is the reason."""


class PlannedSnapshot(NamedTuple):
    """A snapshot that a plan deletes: its id, and the digest of what must not change."""

    id: int
    state: str

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Self:
        """Return the entry for a snapshot as it is now."""
        return cls(snapshot.id, digest(drift_facts(snapshot)))

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Return the entry that `str` wrote to the ledger."""
        number, _, state = entry.partition(" ")
        return cls(int(number), state)

    def __str__(self) -> str:
        return f"{self.id} {self.state}"


_SKIPPED_ERRORS = (
    _KeptError,
    NotAcceptedError,
    NotDoneError,
    BadRequestError,
    ConflictError,
    NotFoundError,
)
"""Errors that concern one snapshot only, so the run continues."""


@dataclass
class _Progress:
    remaining: list[PlannedSnapshot] = field(default_factory=list[PlannedSnapshot])
    accepted: list[Snapshot] = field(default_factory=list[Snapshot])
    skipped: list[SkippedSnapshot] = field(default_factory=list[SkippedSnapshot])
    unknown: list[NamedSnapshot] = field(default_factory=list[NamedSnapshot])
    stop_reason: str = ""

    @property
    def summary(self) -> str:
        counts = (
            f"{len(self.accepted)} deleted, {len(self.skipped)} skipped, {len(self.unknown)}"
            f" unknown, {len(self.remaining)} not attempted"
        )
        return f"{counts}: {self.stop_reason}" if self.stop_reason else counts

    @property
    def end_event(self) -> Event:
        if self.unknown:
            return "unknown"
        return "failed" if self.stop_reason else "done"


class RetentionRun:
    """The execution of one plan.

    Args:
        context: the cloud, the gate, the clock and the policy.
        targets: the snapshots of the plan, in the order of their deletion.
        history: all snapshots, read just now.
    """

    def __init__(
        self, context: WriteContext, targets: Sequence[PlannedSnapshot], history: Iterable[Snapshot]
    ) -> None:
        self._context = context
        self._targets = targets
        self._target_ids = {target.id for target in targets}
        self._history: Mapping[int, Snapshot] = {snapshot.id: snapshot for snapshot in history}

    @property
    def expected(self) -> list[Snapshot]:
        """The snapshots of the plan that may still be deleted, as the list shows them."""
        verdicts = map(self._check_listed, self._targets)
        return [verdict for verdict in verdicts if not isinstance(verdict, str)]

    async def execute(self, permit: Permit) -> RetentionReport:
        """Delete the expected snapshots, and report on every snapshot of the plan.

        If the call is cancelled, the ledger records the progress of the run; each deletion that was
        sent has rows of its own.
        """
        progress, gate = self._initial_progress(), self._context.gate
        try:
            await self._delete_all(progress, permit)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await gate.record_interruption(permit)
            raise
        await gate.record_end(permit, progress.end_event, progress.summary)
        pending_ids = await self._wait_until_gone(progress.accepted)
        for snapshot in progress.accepted:
            if snapshot.id not in pending_ids:
                await announce_change(snapshot.id, snapshot.vm_id)
        return _report(progress, pending_ids)

    def empty_report(self) -> RetentionReport:
        """Return the report for a plan of which nothing may be deleted any more."""
        return _report(self._initial_progress(), set())

    def _initial_progress(self) -> _Progress:
        # Delete only the snapshots that the question to the person lists. A snapshot that differs
        # from the plan at that time is kept, even if it matches the plan again later.
        progress = _Progress()
        for target in self._targets:
            verdict = self._check_listed(target)
            if isinstance(verdict, str):
                progress.skipped.append(self._skipped(target, verdict))
            else:
                progress.remaining.append(target)
        return progress

    async def _delete_all(self, progress: _Progress, permit: Permit) -> None:
        reporter, total = current_caller().progress, len(self._targets)
        while progress.remaining and not progress.stop_reason:
            handled = total - len(progress.remaining)
            line = f"{len(progress.accepted)} deleted of {total}"
            await reporter.report(float(handled), float(total), line)
            await self._delete_next(progress, permit)

    async def _delete_next(self, progress: _Progress, permit: Permit) -> None:
        target = progress.remaining[0]
        deletion = _Deletion(self, target, self._history[target.id], self._context.reader)
        try:
            async with self._context.gate.exclusive():
                reason = await self._delete(deletion, progress, permit)
        except SnapshotMcpError as error:
            progress.stop_reason = str(error)  # nothing was sent for this target
            return
        progress.remaining.pop(0)
        if reason is not None:
            progress.skipped.append(self._skipped(target, reason))

    async def _delete(
        self, deletion: "_Deletion", progress: _Progress, permit: Permit
    ) -> str | None:
        """Delete a snapshot; return the reason to report it as skipped, or None.

        Raises:
            RefusedError: no more deletions are allowed in this hour; nothing was sent.
            CloudError: it could not be checked; nothing was sent.
            LedgerError: it could not be recorded, so nothing was sent.
        """
        gate, write = self._context.gate, DeleteSnapshot(deletion.target.id)
        try:
            child = gate.child_permit(permit, write.intent)
            child = child.with_creation_time(deletion.snapshot.created_at)
            deletion.reader = self._context.ignoring(child).reader
            await gate.send(child, write, deletion.check)
        except _SKIPPED_ERRORS as error:
            return str(error.args[0])
        except OutcomeUnknownError as error:
            if error.effect_visible:
                return EARLIER_DELETION
            progress.unknown.append(_named(deletion.snapshot))
            progress.stop_reason = str(error)
        except CloudError as error:
            if not deletion.was_allowed:
                raise
            progress.stop_reason = str(error)
            return str(error.args[0])
        else:
            progress.accepted.append(deletion.snapshot)
        return None

    def _check_listed(self, target: PlannedSnapshot) -> _Verdict:
        snapshot = self._history.get(target.id)
        if snapshot is None:
            return _GONE
        return self._check(target, snapshot, self._copies(snapshot))

    async def check_now(self, target: PlannedSnapshot, reader: CloudReader) -> _Verdict:
        """Read what decides on a deletion, one by one: the copies that remain, last the target."""
        listed = self._history[target.id]
        needed = count_needed_copies(self._context.policy)
        copies = await read_copies(reader, self._copies(listed), needed)
        try:
            snapshot = await read_snapshot(reader, target.id)
        except NotFoundError:
            return _GONE
        return self._check(target, snapshot, copies)

    def _check(
        self, target: PlannedSnapshot, snapshot: Snapshot, copies: Sequence[Snapshot]
    ) -> _Verdict:
        policy, now = self._context.policy, self._context.clock.now()
        reason = deletion_obstacle(policy, snapshot, copies, now)
        if reason is None and PlannedSnapshot.from_snapshot(snapshot) != target:
            return _CHANGED
        return reason or snapshot

    def _copies(self, snapshot: Snapshot) -> list[Snapshot]:
        return kept_copies(snapshot, self._history.values(), self._target_ids)

    def _skipped(self, target: PlannedSnapshot, reason: str) -> SkippedSnapshot:
        listed = self._history.get(target.id)
        return SkippedSnapshot(id=target.id, name=listed.name if listed else "", why=reason)

    async def _wait_until_gone(self, accepted: Sequence[Snapshot]) -> set[int]:
        """Wait, and return the ids of the snapshots that the cloud still shows at the end."""
        polled = await poll_until(
            {snapshot.id for snapshot in accepted},
            lambda: self._find_remaining(accepted),
            lambda ids: not ids,
            lambda ids: f"{len(ids)} are being deleted",
            seconds=_DELETION_TIMEOUT_SECONDS,
            clock=self._context.clock,
        )
        return polled.last

    async def _find_remaining(self, accepted: Sequence[Snapshot]) -> set[int]:
        remaining: set[int] = set()
        for snapshot in accepted:
            try:
                await self._context.plain_reader.get_snapshot(snapshot.id)
                gone = False
            except NotFoundError:
                gone = True
            except (CloudError, ProtocolError):
                gone = False
            if not gone:
                remaining.add(snapshot.id)
        return remaining


class _Deletion:
    """One deletion of a run, which is checked again before each request.

    Attributes:
        target: the snapshot, as it was planned.
        snapshot: the snapshot as it was read by the last check that allowed its deletion.
        reader: reads what decides on it.
        was_allowed: whether a check has allowed it, so that it may have been sent.
    """

    def __init__(
        self, run: RetentionRun, target: PlannedSnapshot, listed: Snapshot, reader: CloudReader
    ) -> None:
        self._run = run
        self.reader = reader
        self.target = target
        self.snapshot = listed
        self.was_allowed = False

    async def check(self) -> None:
        """Read the snapshot and the copies that remain, and compare it with the plan.

        Raises:
            _KeptError: it must not be deleted now.
        """
        verdict = await self._run.check_now(self.target, self.reader)
        if isinstance(verdict, str):
            raise _KeptError(verdict)
        self.snapshot, self.was_allowed = verdict, True


def _report(progress: _Progress, pending_ids: set[int]) -> RetentionReport:
    gone = [snapshot for snapshot in progress.accepted if snapshot.id not in pending_ids]
    pending = [snapshot for snapshot in progress.accepted if snapshot.id in pending_ids]
    attempted = bool(progress.accepted or progress.unknown)
    return RetentionReport(
        outcome="stopped" if progress.stop_reason else "applied" if attempted else "nothing_done",
        deleted=tuple(map(_named, gone)),
        pending=tuple(map(_named, pending)),
        unknown=tuple(progress.unknown),
        skipped=tuple(progress.skipped),
        not_attempted=tuple(target.id for target in progress.remaining),
        reclaimed_gb=total_gigabytes(gone),
        next_step=" ".join(_next_steps(progress, pending)),
    )


def _named(snapshot: Snapshot) -> NamedSnapshot:
    return NamedSnapshot(id=snapshot.id, name=snapshot.name)


def _next_steps(progress: _Progress, pending: Sequence[Snapshot]) -> list[str]:
    steps: list[str] = []
    if progress.stop_reason:
        steps.append(f"The run stopped: {progress.stop_reason}")
    steps += [
        f"Call inspect_snapshot with {snapshot.id}: if it is not found, it was deleted."
        for snapshot in progress.unknown
    ]
    if pending:
        steps.append("Call inspect_snapshot for what is pending: if not found, it was deleted.")
    if progress.stop_reason or progress.skipped:
        steps.append("For the rest, call plan_retention again; this plan cannot be used again.")
    return steps or ["Nothing more to do."]
