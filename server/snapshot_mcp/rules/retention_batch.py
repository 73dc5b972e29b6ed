"""Which of the deletions of a retention policy one plan covers, and what stops each of them.

A plan is looked at twice: when it is made, from a list of all snapshots, and again for each
snapshot right before it is deleted. What is not as it was then stays.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import describe_derived_image
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention import Decision

MAX_BATCH_SIZE = 50

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Batch(NamedTuple):
    """What one plan covers.

    Attributes:
        decisions: those that go first, oldest first, which is the order in which they go; then
            those that stay, as they came.
        delete_count: how many go.
        left: how many no rule keeps and yet stay, for a later plan.
    """

    decisions: Sequence[Decision]
    delete_count: int
    postponed_count: int

    @property
    def to_delete(self) -> list[Snapshot]:
        """The snapshots that go, in their order."""
        return [it.snapshot for it in self.decisions[: self.delete_count]]


def plan_batch(decisions: Sequence[Decision], max_deletions: int) -> Batch:
    """The batch of the oldest `at_most` deletions; what is more stays for a later plan."""
    going = sorted(
        (it for it in decisions if not it.keep), key=lambda it: _creation_order(it.snapshot)
    )
    later = {it.snapshot.id for it in going[max_deletions:]}
    told = f"left for a later plan: this one has {max_deletions}"
    staying = [
        it._replace(keep=True, reasons=(told,)) if it.snapshot.id in later else it
        for it in decisions
        if it.keep or it.snapshot.id in later
    ]
    now = [
        it._replace(reasons=(*it.reasons, *_warnings(it.snapshot))) for it in going[:max_deletions]
    ]
    return Batch([*now, *staying], len(now), len(later))


def total_gigabytes(snapshots: Iterable[Snapshot]) -> int:
    """Their size together, as far as it is known."""
    return sum(it.size or 0 for it in snapshots)


def confirmation_words(count: int) -> str:
    """What a person agrees to."""
    return f"delete {count} snapshot" + ("" if count == 1 else "s")


def may_delete_last_copy(policy: Policy) -> bool:
    """Whether retention may delete a VM's newest ready snapshot."""
    return policy.retention.may_delete_last_copy and not policy.protect.keep_last_copy


def drift_facts(snapshot: Snapshot) -> list[object]:
    """What a plan depends on; the list of the cloud and the single snapshot tell it alike."""
    return [
        snapshot.id,
        snapshot.name,
        snapshot.status,
        snapshot.vm_id,
        snapshot.size,
        str(snapshot.created_at),
        str(snapshot.updated_at),
        sorted(snapshot.labels),
        describe_derived_image(snapshot),
    ]


def copies_to_check(
    policy: Policy, snapshot: Snapshot, history: Iterable[Snapshot], deleted_ids: set[int]
) -> list[int]:
    """Ids of the ready snapshots of its VM that stay, on which its deletion depends; the newest."""
    protect = policy.protect
    needed = max(protect.keep_newest, int(protect.keep_last_copy), _requires_newer_copy(policy))
    copies = [
        it
        for it in history
        if it.vm_id is not None
        and it.vm_id == snapshot.vm_id
        and it.state == "ready"
        and it.id not in deleted_ids
    ]
    return [it.id for it in sorted(copies, key=_creation_order, reverse=True)[:needed]]


def deletion_obstacle(
    policy: Policy, snapshot: Snapshot, copies: Iterable[Snapshot], now: datetime
) -> str | None:
    """Why `snapshot` must not be deleted now after all; None when it may.

    Args:
        policy: the operator's policy.
        snapshot: the target as it is now.
        copies: the other snapshots of its VM on which it depends, as they are now.
        now: the time from which its age counts.
    """
    if snapshot.state != "ready":
        return f"it is {snapshot.state} now"
    copies = [it for it in copies if it.state == "ready" and it.vm_id == snapshot.vm_id]
    ruling = rules.check_protection(policy, snapshot, copies, now)
    if ruling is not None:
        return ruling.message
    if _requires_newer_copy(policy) and not rules.newer_copies(snapshot, copies):
        return "it may be the newest ready copy of its VM now"
    return None


def _warnings(snapshot: Snapshot) -> Iterable[str]:
    if (image := describe_derived_image(snapshot)) is not None:
        yield f"the image {image} made from it is deleted too"
    if snapshot.vm_gone:
        yield "its VM is deleted, so its data exists nowhere else"


def _requires_newer_copy(policy: Policy) -> bool:
    return not may_delete_last_copy(policy)


def _creation_order(snapshot: Snapshot) -> tuple[datetime, int]:
    return snapshot.created_at or _LONG_AGO, snapshot.id
