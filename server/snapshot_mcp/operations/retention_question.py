"""The question to the person about the commit of a retention plan; it names every snapshot."""

from collections.abc import Iterator, Mapping, Sequence

from snapshot_mcp.consent.question import QUESTION_OPENING
from snapshot_mcp.core.sanitize import quote_unless_word, quoted
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.operations.listing import group_by_vm
from snapshot_mcp.rules.blast_radius import describe_derived_image, describe_image_vms
from snapshot_mcp.rules.retention_batch import confirmation_words, total_gigabytes

ImageUsers = Mapping[int, tuple[str, ...] | None]
"""The VMs that use the image of a snapshot, by the snapshot's id; None if they are unknown."""


def retention_question(
    expected: Sequence[Snapshot], planned_count: int, image_users: ImageUsers
) -> str:
    """Return the question. Without `image_users`, it is the same in every round of one call.

    Args:
        expected: the snapshots of the plan that are still as planned.
        planned_count: the number of snapshots in the plan.
        image_users: the VMs that use the image of a snapshot, by the snapshot's id.
    """
    instruction = f"To agree, type exactly: {confirmation_words(planned_count)}"
    return "\n".join(
        [QUESTION_OPENING, *_question_lines(expected, planned_count, image_users), instruction]
    )


def _question_lines(
    expected: Sequence[Snapshot], planned_count: int, image_users: ImageUsers
) -> Iterator[str]:
    words = confirmation_words(len(expected)).capitalize()
    yield f"{words} for good, {total_gigabytes(expected)} GB, oldest first:"
    for snapshots in group_by_vm(expected).values():
        yield f"{_describe_vm(snapshots[0])}: {', '.join(map(_describe_snapshot, snapshots))}"
    for snapshot in expected:
        if (image := describe_derived_image(snapshot)) is not None:
            users = describe_image_vms(image_users.get(snapshot.id))
            yield f"The image {image} made from {snapshot.id} is deleted too; {users}."
    if planned_count > len(expected):
        yield f"{planned_count - len(expected)} of the plan have changed since and are skipped."


def _describe_vm(snapshot: Snapshot) -> str:
    gone = ", which is deleted: its data exists nowhere else" if snapshot.vm_gone else ""
    return f"VM {snapshot.vm_id or '?'} {quoted(snapshot.vm_name or '')}{gone}"


def _describe_snapshot(snapshot: Snapshot) -> str:
    date = f"{snapshot.created_at:%Y-%m-%d}" if snapshot.created_at else "?"
    return f"{snapshot.id} {quote_unless_word(snapshot.name)} ({date})"
