"""Carrying out a plan of many deletions: one by one, each looked at again, each recorded.

It stops at the first deletion whose outcome is not known, and where nothing more may or can be
sent. What was done until then is told in any case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.gate import Gate, Permit
from snapshot_mcp.consent.plan_tokens import digest
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import (
    BadRequestError,
    CloudError,
    ConflictError,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    SnapshotMcpError,
)
from snapshot_mcp.core.request_context import current_caller
from snapshot_mcp.ledger.chain import Event
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.retention import NamedSnapshot, RetentionReport, SkippedSnapshot
from snapshot_mcp.operations.notifications import announce
from snapshot_mcp.operations.polling import poll_until
from snapshot_mcp.operations.recovery import find_deletion
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention_batch import (
    copies_to_check,
    deletion_obstacle,
    drift_facts,
    total_gigabytes,
)

_GONE = "it is gone already"
_CHANGED = "it is not as it was when this was planned"
_DELETION_TIMEOUT_SECONDS = 10.0


class PlannedSnapshot(NamedTuple):
    """A snapshot as a plan names it: its id, and the digest of what the plan depends on."""

    id: int
    state: str

    @property
    def written(self) -> str:
        """As it stands in the ledger."""
        return f"{self.id} {self.state}"

    @classmethod
    def read(cls, written: str) -> Self:
        """The reverse of `written`."""
        number, _, state = written.partition(" ")
        return cls(int(number), state)


@dataclass
class _Course:
    """How far it came."""

    left: list[PlannedSnapshot] = field(default_factory=list[PlannedSnapshot])
    accepted: list[Snapshot] = field(default_factory=list[Snapshot])
    skipped: list[SkippedSnapshot] = field(default_factory=list[SkippedSnapshot])
    unknown: list[NamedSnapshot] = field(default_factory=list[NamedSnapshot])
    stopped: str = ""

    @property
    def told(self) -> str:
        counted = (
            f"{len(self.accepted)} deleted, {len(self.skipped)} skipped, {len(self.unknown)}"
            f" unknown, {len(self.left)} not attempted"
        )
        return f"{counted}: {self.stopped}" if self.stopped else counted

    @property
    def end(self) -> Event:
        if self.unknown:
            return "unknown"
        return "failed" if self.stopped else "done"


class RetentionRun:
    """One plan while it is carried out.

    Args:
        targets: what the plan names, in the order in which it goes.
        history: all snapshots, read just now.
        reader: the reading half of the cloud.
        gate: the way to the writing half.
        clock: the time.
        policy: what the operator forbids.
    """

    def __init__(
        self,
        targets: Sequence[PlannedSnapshot],
        history: Sequence[Snapshot],
        reader: CloudReader,
        gate: Gate,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._targets = targets
        self._history: Mapping[int, Snapshot] = {it.id: it for it in history}
        self._reader = reader
        self._gate = gate
        self._clock = clock
        self._policy = policy
        self._going = {target.id for target in targets}

    @property
    def expected(self) -> list[Snapshot]:
        """Those of the plan that may still be deleted, as the list shows them."""
        verdicts = map(self._verdict_of_list, self._targets)
        return [it for it in verdicts if not isinstance(it, str)]

    async def execute(self, permit: Permit) -> RetentionReport:
        """Delete those that were expected, and tell what became of each of the plan.

        Cancelled, it records how far it came: each deletion that was sent has its own row.
        """
        course = self._course()
        try:
            await self._delete_each(course, permit)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._gate.record_end(permit, "failed", f"broken off; {course.told}")
            raise
        await self._gate.record_end(permit, course.end, course.told)
        there = await self._still_there(course.accepted)
        for snapshot in course.accepted:
            if snapshot.id not in there:
                await announce(snapshot.id, snapshot.vm_id)
        return self._report(course, there)

    def nothing_done(self) -> RetentionReport:
        """What is told where nothing of the plan may be deleted any more."""
        return self._report(self._course(), set())

    def _course(self) -> _Course:
        # What was not in the question stays, even if it is by now as it was planned.
        course = _Course()
        for target in self._targets:
            verdict = self._verdict_of_list(target)
            if isinstance(verdict, str):
                course.skipped.append(self._skipped(target, verdict))
            else:
                course.left.append(target)
        return course

    async def _delete_each(self, course: _Course, permit: Permit) -> None:
        news, total = current_caller().progress, len(self._targets)
        while course.left and not course.stopped:
            place = total - len(course.left)
            line = f"{len(course.accepted)} deleted of {total}"
            await news.report(float(place), float(total), line)
            await self._delete_next(course, permit)

    async def _delete_next(self, course: _Course, permit: Permit) -> None:
        target = course.left[0]
        try:
            async with self._gate.exclusive():
                verdict = await self._verdict(target)
                if not isinstance(verdict, str):
                    verdict = await self._delete(verdict, course, permit)
        except SnapshotMcpError as error:
            course.stopped = str(error)  # before anything was sent for it
            return
        course.left.pop(0)
        if isinstance(verdict, str):
            course.skipped.append(self._skipped(target, verdict))

    async def _delete(self, snapshot: Snapshot, course: _Course, permit: Permit) -> str | None:
        """Delete it; or why it is still there.

        Raises:
            RefusedError: no more deletions are allowed in this hour; nothing was sent.
            LedgerError: it could not be recorded, so nothing was sent.
        """
        try:
            await self._gate.send(
                self._gate.child_permit(permit, "delete_snapshot", snapshot.id),
                lambda writer: writer.delete_snapshot(snapshot.id),
                lambda: find_deletion(self._reader, snapshot.id),
            )
        except OutcomeUnknownError as error:
            course.unknown.append(_named(snapshot))
            course.stopped = str(error)
        except (NotDoneError, BadRequestError, ConflictError, NotFoundError) as error:
            return str(error.args[0])
        except CloudError as error:
            course.stopped = str(error)
            return str(error.args[0])
        else:
            course.accepted.append(snapshot)
        return None

    def _verdict_of_list(self, target: PlannedSnapshot) -> Snapshot | str:
        snapshot = self._history.get(target.id)
        if snapshot is None:
            return _GONE
        copies = [self._history[number] for number in self._copies_of(snapshot)]
        return self._judged(target, snapshot, copies)

    async def _verdict(self, target: PlannedSnapshot) -> Snapshot | str:
        """The snapshot as it is now; or why it must stay."""
        snapshot = await self._found(target.id)
        if snapshot is None:
            return _GONE
        copies = [await self._found(number) for number in self._copies_of(snapshot)]
        return self._judged(target, snapshot, [it for it in copies if it is not None])

    def _copies_of(self, snapshot: Snapshot) -> list[int]:
        history = self._history.values()
        return copies_to_check(self._policy, snapshot, history, self._going)

    def _judged(
        self, target: PlannedSnapshot, snapshot: Snapshot, copies: Sequence[Snapshot]
    ) -> Snapshot | str:
        why = deletion_obstacle(self._policy, snapshot, copies, self._clock.now())
        if why is None and digest(drift_facts(snapshot)) != target.state:
            return _CHANGED
        return why or snapshot

    def _skipped(self, target: PlannedSnapshot, why: str) -> SkippedSnapshot:
        known = self._history.get(target.id)
        return SkippedSnapshot(id=target.id, name=known.name if known else "", why=why)

    async def _found(self, snapshot_id: int) -> Snapshot | None:
        try:
            return await self._reader.get_snapshot(snapshot_id)
        except NotFoundError:
            return None

    async def _still_there(self, accepted: Sequence[Snapshot]) -> set[int]:
        """Ids of those that were not seen to be gone."""
        waited = await poll_until(
            {it.id for it in accepted},
            lambda: self._seen(accepted),
            lambda ids: not ids,
            lambda ids: f"{len(ids)} are being deleted",
            seconds=_DELETION_TIMEOUT_SECONDS,
            clock=self._clock,
        )
        return waited.last

    async def _seen(self, accepted: Sequence[Snapshot]) -> set[int]:
        there: set[int] = set()
        for snapshot in accepted:
            try:
                seen = await self._found(snapshot.id)
            except (CloudError, ProtocolError):
                seen = snapshot  # not seen to be gone
            if seen is not None:
                there.add(snapshot.id)
        return there

    def _report(self, course: _Course, there: set[int]) -> RetentionReport:
        gone = [it for it in course.accepted if it.id not in there]
        pending = [it for it in course.accepted if it.id in there]
        attempted = bool(course.accepted or course.unknown)
        return RetentionReport(
            outcome="stopped" if course.stopped else "applied" if attempted else "nothing_done",
            deleted=tuple(map(_named, gone)),
            pending=tuple(map(_named, pending)),
            unknown=tuple(course.unknown),
            skipped=tuple(course.skipped),
            not_attempted=tuple(it.id for it in course.left),
            reclaimed_gb=total_gigabytes(gone),
            next_step=" ".join(_next_steps(course, pending)),
        )


def _named(snapshot: Snapshot) -> NamedSnapshot:
    return NamedSnapshot(id=snapshot.id, name=snapshot.name)


def _next_steps(course: _Course, pending: Sequence[Snapshot]) -> list[str]:
    told: list[str] = []
    if course.stopped:
        told.append(f"It stopped: {course.stopped}")
    told += [
        f"Call inspect_snapshot with {it.id}: if it is not found, it was deleted."
        for it in course.unknown
    ]
    if pending:
        told.append("Call inspect_snapshot for what is pending: if not found, it was deleted.")
    if course.stopped or course.skipped:
        told.append("For what is still there, call plan_retention again; this plan is used up.")
    return told or ["Nothing more to do."]
