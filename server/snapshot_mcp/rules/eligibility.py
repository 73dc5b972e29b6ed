"""Eligibility: why the cloud would now refuse to snapshot a VM, or to use or delete a snapshot."""

from datetime import datetime, timedelta

from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.models.cloud import Snapshot, VirtualMachine, status_word

MAX_SNAPSHOT_GB = 100
"""Source: the vendor's guide."""

STUCK_AFTER = timedelta(days=1)
"""A snapshot takes minutes. One that is pending for longer than this will not become ready."""

_SNAPSHOTTABLE = frozenset({"ACTIVE", "SHUTOFF"})


def snapshot_obstacle(vm: VirtualMachine) -> str | None:
    """Return why the cloud would refuse a snapshot of this VM now, or None.

    Source: the vendor's guide: ACTIVE or SHUTOFF, no other snapshot in progress, and a flavor
    without `no_snapshot`.
    """
    if vm.flavor and vm.flavor.features and vm.flavor.features.no_snapshot:
        return "its flavor does not allow snapshots"
    if vm.is_snapshotting:
        return "another snapshot of it is in progress"
    if (vm.boot_volume_size or 0) > MAX_SNAPSHOT_GB:
        size = f"{vm.boot_volume_size} GB"
        return f"its boot volume has {size}; the cloud snapshots at most {MAX_SNAPSHOT_GB} GB"
    status = status_word(vm.status)
    if status in _SNAPSHOTTABLE:
        return None
    return f"its status is {cell_text(status)}, not ACTIVE or SHUTOFF"


def would_interrupt(vm: VirtualMachine) -> bool:
    """Return whether a snapshot shuts the VM off and starts it again.

    Source: the vendor's guide. To be safe, this is assumed for every status except SHUTOFF.
    """
    return status_word(vm.status) != "SHUTOFF"


def restore_obstacle(snapshot: Snapshot) -> str | None:
    """Return why the cloud would refuse to restore this snapshot now, or None."""
    return None if snapshot.state == "ready" else _not_ready(snapshot)


def image_obstacle(snapshot: Snapshot) -> str | None:
    """Return why the cloud would refuse to create an image of this snapshot, or None.

    Source: the vendor's OpenAPI document has one `custom_image` per snapshot, and status 406 for a
    second.
    """
    if snapshot.state != "ready":
        return _not_ready(snapshot)
    image = snapshot.custom_image
    if image is None:
        return None
    return f"it already has an image, {quoted(image.name or '')}, and can have only one"


def is_stuck(snapshot: Snapshot, now: datetime) -> bool:
    """Return whether a snapshot has been pending for more than a day, as far as is known."""
    taken = snapshot.created_at
    return snapshot.state == "pending" and taken is not None and now - taken > STUCK_AFTER


def delete_obstacle(snapshot: Snapshot, now: datetime) -> str | None:
    """Return why this snapshot cannot be deleted now, or None.

    A pending snapshot may be about to become ready, unless it is stuck.
    """
    if snapshot.state == "deleting":
        return _not_ready(snapshot)
    if snapshot.state != "pending" or is_stuck(snapshot, now):
        return None
    return _not_ready(snapshot)


def _not_ready(snapshot: Snapshot) -> str:
    return f"it is {describe_state(snapshot)} (status {cell_text(snapshot.status)})"


def describe_state(snapshot: Snapshot) -> str:
    """Return the state for a sentence that begins with "it is"."""
    return "being deleted" if snapshot.state == "deleting" else snapshot.state


def rehearsal_deletion_obstacle(vm: VirtualMachine) -> str | None:
    """Return why the VM of a rehearsal is not deleted; None if it can be. Unknown facts keep it."""
    if status_word(vm.status) in ("DELETING", "DELETED"):
        return "it is being deleted already"
    if vm.is_snapshotting or vm.is_snapshotting is None:
        return "a snapshot of it is in progress, or that is not known"
    if vm.volume_count is None:
        return "whether volumes are attached to it is not known"
    if vm.volume_count:
        return "volumes are attached to it"
    if vm.has_floating_ip is None:
        return "whether it has a floating IP is not known"
    return "it has a floating IP" if vm.has_floating_ip else None
