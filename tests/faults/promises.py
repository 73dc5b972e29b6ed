"""The operator's policy, compared with the deletions that the cloud executed.

`find_broken_promises` computes from the cloud's own change log which snapshots each VM had at every
deletion. Changes by others are excluded from blame only if the server could not have seen them when
it read the cloud for the last time before its request.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from snapshot_mcp.sandbox.entities import from_micros
from snapshot_mcp.sandbox.lifecycle import snapshot_status
from tests.faults.change_log import Change
from tests.faults.others import PROTECTED_LABEL, OthersDid
from tests.faults.transport import Delivery, Exchange


class Promises(NamedTuple):
    """The part of the policy that the deletions are compared with.

    Attributes:
        protected_label: snapshots with this label are never deleted; empty for none.
        keep_newest: this number of the newest ready snapshots of each VM is never deleted.
        keep_last_copy: the last ready snapshot of each VM is never deleted.
    """

    protected_label: str = ""
    keep_newest: int = 0
    keep_last_copy: bool = False

    @property
    def policy(self) -> str:
        """The policy file."""
        lines = ["[protect]"]
        if self.protected_label:
            lines.append(f'labels = ["{self.protected_label}"]')
        lines.append(f"keep_newest = {self.keep_newest}")
        lines.append(f"keep_last_copy = {str(self.keep_last_copy).lower()}")
        return "\n".join(lines) + "\n"


PROMISES = (
    Promises(PROTECTED_LABEL, keep_last_copy=True),
    Promises(PROTECTED_LABEL, keep_newest=2),
    Promises(keep_newest=1, keep_last_copy=True),
)


@dataclass(frozen=True)
class Evidence:
    """Everything that the comparison needs.

    Attributes:
        existing: the snapshots at the start.
        changes: the changes since then, in order.
        exchanges: the requests of all servers.
        others: moments of the changes by others.
        now: converts the monotonic clock to the cloud's time of day.
        stale_reads: seconds by which single reads and lists are behind.
    """

    existing: Sequence[Change]
    changes: Sequence[Change]
    exchanges: Sequence[Exchange]
    others: Sequence[OthersDid]
    start: datetime
    stale_reads: float = 0.0


class Deletion(NamedTuple):
    """One snapshot that a server deleted, and the request that did it."""

    change: Change
    exchange: Exchange
    delivery: Delivery


class LastLook(NamedTuple):
    """The last time that a server read something before its request.

    Attributes:
        tick: the tick of the read; -1 if it read nothing since its previous try.
        time: seconds of the monotonic clock.
    """

    tick: int = -1
    time: float = -1.0

    def could_show(self, did: OthersDid, stale_seconds: float) -> bool:
        return did.tick < self.tick and did.time <= self.time - stale_seconds


def find_broken_promises(promises: Promises, evidence: Evidence) -> Iterator[str]:
    """Yield one sentence for each deletion that the policy forbids."""
    alive = {change.number: change for change in evidence.existing}
    hidden = dict[int, Change]()
    moments = {did.change_id: did for did in evidence.others}
    for change in evidence.changes:
        if change.thing != "snapshot":
            continue
        if change.change != "gone":
            alive[change.number] = change
            continue
        gone = alive.pop(change.number)
        if change.by_others:
            hidden[change.number] = gone
        elif (deletion := _find_deletion(change, evidence)) is not None:
            copies = [*alive.values(), *_unseeable(hidden, deletion, evidence, moments)]
            yield from _judge(promises, evidence, deletion, copies)


def _find_deletion(change: Change, evidence: Evidence) -> Deletion | None:
    for exchange in evidence.exchanges:
        if exchange.method == "DELETE" and exchange.path.endswith(f"/snapshots/{change.number}"):
            for delivery in exchange.deliveries:
                if delivery.accepted:
                    return Deletion(change, exchange, delivery)
    return None  # the comparison of the three parties reports a change without a request


def _unseeable(
    hidden: dict[int, Change],
    deletion: Deletion,
    evidence: Evidence,
    moments: dict[int, OthersDid],
) -> Iterator[Change]:
    """Yield the siblings that others deleted too late for the server to see."""
    look = _last_look(deletion, evidence, "/core/snapshots")
    gone = {
        change.number: change.id
        for change in evidence.changes
        if change.by_others and change.change == "gone"
    }
    for number, snapshot in hidden.items():
        did = moments.get(gone[number])
        if did is None or not look.could_show(did, evidence.stale_reads):
            yield snapshot


def _judge(
    promises: Promises, evidence: Evidence, deletion: Deletion, copies: Iterable[Change]
) -> Iterator[str]:
    change = deletion.change
    if promises.protected_label in json.loads(change.labels) and _label_was_visible(
        deletion, evidence
    ):
        yield f"A snapshot with a protected label was deleted: {deletion}"
    now = from_micros(round((evidence.start.timestamp() + deletion.delivery.time) * 1e6))
    if not _is_ready(change, now):
        return
    others = [copy for copy in copies if copy.vm_id == change.vm_id and _is_ready(copy, now)]
    if promises.keep_last_copy and not others:
        yield f"The last copy of a VM was deleted: {deletion}"
    newer = [copy for copy in others if (copy.began, copy.number) > (change.began, change.number)]
    if len(newer) < promises.keep_newest:
        yield f"Only {len(newer)} newer copies remain: {deletion}"


def _label_was_visible(deletion: Deletion, evidence: Evidence) -> bool:
    moments = {did.change_id: did for did in evidence.others}
    look = _last_look(deletion, evidence, f"/core/snapshots/{deletion.change.number}")
    labelled = [
        moments[change.id]
        for change in evidence.changes
        if change.change == "labelled" and change.number == deletion.change.number
    ]
    return not labelled or look.could_show(labelled[0], evidence.stale_reads)


def _last_look(deletion: Deletion, evidence: Evidence, path: str) -> LastLook:
    """Return the last answered read of this path before the request, by the same server.

    A read before an earlier try of the same attempt does not count: the server must look again.
    """
    sent = deletion.exchange
    start = max(
        (
            exchange.started_tick
            for exchange in evidence.exchanges
            if exchange.writing
            and exchange.attempts == sent.attempts
            and exchange.started_tick < sent.started_tick
        ),
        default=-1,
    )
    looks = [
        LastLook(delivery.tick, delivery.time)
        for exchange in evidence.exchanges
        if exchange.method == "GET"
        and exchange.server == sent.server
        and exchange.path.endswith(path)
        and exchange.started_tick > start
        for delivery in exchange.deliveries[-1:]
        if delivery.tick < sent.started_tick
    ]
    if looks:
        return looks[-1]
    # Without another look, everything that happened before this try counts.
    return LastLook(sent.started_tick, deletion.delivery.time + evidence.stale_reads)


def _is_ready(snapshot: Change, now: datetime) -> bool:
    started = from_micros(snapshot.began)
    return snapshot_status(started, snapshot.gigabytes, snapshot.outcome, now) == "SUCCESS"
