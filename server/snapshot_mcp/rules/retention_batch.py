"""Retention batches: which deletions one plan covers, and what prevents each of them.

Each deletion is checked twice: when the plan is created, from a list of all snapshots, and again
right before the snapshot is deleted. A snapshot that changed since the plan is kept.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import copies_of, creation_order, describe_derived_image
from snapshot_mcp.rules.eligibility import describe_state
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention import Decision

MAX_BATCH_SIZE = 50
_COMPARED_FIELDS = ("name", "status", "vm_id", "size", "created_at", "updated_at", "labels")
_PLANNED_FIELDS = (*_COMPARED_FIELDS, "vm_name", "vm_status", "custom_image")
"""Fields that a plan needs to know about each snapshot that it deletes."""


class Batch(NamedTuple):
    """The content of one plan.

    Attributes:
        decisions: first the deletions, oldest first, in the order of execution; then the
            snapshots to keep, in their original order.
        delete_count: number of deletions.
        postponed_count: number of deletions that are left for a later plan.
    """

    decisions: Sequence[Decision]
    delete_count: int
    postponed_count: int

    @property
    def to_delete(self) -> list[Snapshot]:
        """The snapshots to delete, in the order of execution."""
        return [decision.snapshot for decision in self.decisions[: self.delete_count]]


def plan_batch(decisions: Sequence[Decision], max_deletions: int) -> Batch:
    """Return a batch of the oldest deletions; the rest is left for a later plan."""
    deletions = sorted(
        (decision for decision in decisions if not decision.keep),
        key=lambda decision: creation_order(decision.snapshot),
    )
    postponed = {decision.snapshot.id for decision in deletions[max_deletions:]}
    reason = f"left for a later plan: the limit of one plan is {max_deletions}"
    kept = [
        decision if decision.keep else decision._replace(keep=True, reasons=(reason,))
        for decision in decisions
        if decision.keep or decision.snapshot.id in postponed
    ]
    planned = deletions[:max_deletions]
    return Batch([*planned, *kept], len(planned), len(postponed))


def complete_batch(batch: Batch, looked_up: Mapping[int, Snapshot | str]) -> Batch:
    """Return the batch with its deletions as they were looked up, and with their warnings.

    Args:
        batch: the batch, decided from a list.
        looked_up: the snapshots that were read one by one, by id, or the reason to keep each.
    """
    planned: list[Decision] = []
    kept: list[Decision] = []
    for decision in batch.decisions[: batch.delete_count]:
        found = looked_up.get(decision.snapshot.id, decision.snapshot)
        if isinstance(found, str):
            kept.append(decision._replace(keep=True, reasons=(found,)))
        else:
            reasons = (*decision.reasons, *_warnings(found))
            planned.append(decision._replace(snapshot=found, reasons=reasons))
    rest = batch.decisions[batch.delete_count :]
    return Batch([*planned, *kept, *rest], len(planned), batch.postponed_count)


def fields_to_know(policy: Policy) -> frozenset[str]:
    """Return the fields of a snapshot on which the protection of the policy depends.

    Source: a list of the cloud may omit the region and the VM's name.
    """
    needed = {
        "region": policy.allow.regions is not None,
        "vm_name": bool(policy.protect.names),
        "labels": bool(policy.protect.labels),
    }
    return frozenset(name for name, is_needed in needed.items() if is_needed)


def needs_lookup(policy: Policy, snapshot: Snapshot) -> bool:
    """Return whether a plan needs a fact about this snapshot that the list omits."""
    return any(map(snapshot.is_unknown, fields_to_know(policy).union(_PLANNED_FIELDS)))


def check_looked_up(
    policy: Policy,
    listed: Snapshot,
    single: Snapshot,
    siblings: Iterable[Snapshot],
    now: datetime,
) -> str | None:
    """Return why a snapshot is kept although the decision from the list was to delete it, or None.

    Args:
        policy: the operator's policy.
        listed: the snapshot in the list.
        single: the same snapshot, read by itself.
        siblings: all snapshots of the same VM.
        now: the current time.
    """
    if single.state != "ready":
        return f"it is {describe_state(single)} now"
    for name in _COMPARED_FIELDS:
        unknown = listed.is_unknown(name) or single.is_unknown(name)
        if not unknown and getattr(listed, name) != getattr(single, name):
            return "the cloud's list differs from the snapshot itself"
    violation = rules.check_protection(policy, single, siblings, now)
    return None if violation is None else f"protected: {violation.message}"


def total_gigabytes(snapshots: Iterable[Snapshot]) -> int:
    """Return the sum of the known sizes."""
    return sum(snapshot.size or 0 for snapshot in snapshots)


def confirmation_words(count: int) -> str:
    """Return the words that the person must type."""
    return f"delete {count} snapshot" + ("" if count == 1 else "s")


def may_delete_last_copy(policy: Policy) -> bool:
    """Return whether retention may delete a VM's newest ready snapshot."""
    return policy.retention.may_delete_last_copy and not policy.protect.keep_last_copy


def drift_facts(snapshot: Snapshot) -> list[object]:
    """Return the facts that a plan depends on. A list may omit some: see `needs_lookup`."""
    return [
        snapshot.id,
        snapshot.name,
        snapshot.status,
        snapshot.vm_id,
        snapshot.size,
        str(snapshot.created_at),
        str(snapshot.updated_at),
        None if snapshot.labels is None else sorted(snapshot.labels),
        describe_derived_image(snapshot),
        snapshot.vm_gone,
    ]


def kept_copies(
    snapshot: Snapshot, history: Iterable[Snapshot], deleted_ids: Container[int]
) -> list[Snapshot]:
    """Return the other ready snapshots of its VM that a plan keeps, newest first."""
    return [copy for copy in copies_of(snapshot, history) if copy.id not in deleted_ids]


def count_needed_copies(policy: Policy) -> int:
    """Return the number of kept copies of its VM on which each deletion depends."""
    protect = policy.protect
    return max(protect.keep_newest, int(protect.keep_last_copy), _requires_newer_copy(policy))


def deletion_obstacle(
    policy: Policy, snapshot: Snapshot, copies: Iterable[Snapshot], now: datetime
) -> str | None:
    """Return why `snapshot` must not be deleted now, or None.

    Args:
        policy: the operator's policy.
        snapshot: the target as it is now.
        copies: the newest ones of `kept_copies`, as they are now.
        now: the current time.
    """
    if snapshot.state != "ready":
        return f"it is {describe_state(snapshot)} now"
    copies = [copy for copy in copies if copy.is_copy and copy.vm_id == snapshot.vm_id]
    violation = rules.check_protection(policy, snapshot, copies, now)
    if violation is not None:
        return violation.message
    if _requires_newer_copy(policy) and not rules.newer_copies(snapshot, copies):
        return "it may be the newest ready copy of its VM now"
    return None


def _warnings(snapshot: Snapshot) -> Iterable[str]:
    if (image := describe_derived_image(snapshot)) is not None:
        yield f"the image {image} made from it is deleted too"
    elif not snapshot.image_is_known:
        yield "whether an image was made from it, which would be deleted too, is unknown"
    if snapshot.vm_gone is None:
        yield "whether its VM still exists is unknown"
    elif snapshot.vm_gone:
        yield "its VM is deleted, so its data exists nowhere else"


def _requires_newer_copy(policy: Policy) -> bool:
    return not may_delete_last_copy(policy)
