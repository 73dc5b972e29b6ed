"""Blast radius: what a delete or a restore would affect, computed before it happens."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from snapshot_mcp.core.sanitize import cell_text, mixes_scripts, quoted
from snapshot_mcp.models.cloud import STATES_WITHOUT_DATA, Flavor, Snapshot
from snapshot_mcp.models.costs import CURRENCY, RestoreCosts
from snapshot_mcp.models.snapshots import BlastRadius
from snapshot_mcp.rules.eligibility import is_stuck
from snapshot_mcp.rules.restore_costs import (
    cost_warnings,
    describe_contract,
    estimate_price_per_hour,
    free_gpus,
)

_SECONDS_PER_DAY = 86_400
_MAX_IMAGE_VMS = 5
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_BILLING_WARNINGS = ("The new VM is billed from its creation until it is deleted.",)
_REHEARSAL_WARNINGS = ("It has to be deleted after the rehearsal, with delete_rehearsal_vm.",)


def deletion_blast_radius(
    snapshot: Snapshot,
    siblings: Iterable[Snapshot],
    now: datetime,
    *,
    copies: Iterable[Snapshot] | None = None,
    image_vms: Sequence[str] | None = None,
) -> BlastRadius:
    """Return what the deletion of `snapshot` would affect.

    Args:
        snapshot: the target.
        siblings: all snapshots of the same VM, with or without the target.
        now: the current time.
        copies: those of the siblings that were read one by one, which decide whether the target is
            the last ready one; None for all.
        image_vms: the VMs that use the image made from it; None if unknown.
    """
    siblings = tuple(siblings)
    last = is_last_ready(snapshot, siblings if copies is None else copies)
    image = describe_derived_image(snapshot)
    facts = {
        "vm_gone": snapshot.vm_gone,
        "last_ready_of_vm": last,
        "newest_of_vm": is_newest_ready(snapshot, siblings),
        **_count_older_and_newer(snapshot, siblings),
        "derived_image": image,
        "image_vms": None if image is None or image_vms is None else tuple(image_vms),
        "warnings": tuple(_deletion_warnings(snapshot, now, last=last, image_vms=image_vms)),
    }
    action = f"Delete snapshot {snapshot.id} {quoted(snapshot.name)} permanently."
    return _base_radius(snapshot, action, now).model_copy(update=facts)


def restore_blast_radius(
    snapshot: Snapshot,
    new_vm_name: str,
    costs: RestoreCosts,
    now: datetime,
    *,
    rehearsal: bool = False,
) -> BlastRadius:
    """Return what a restore of `snapshot` would create: a new VM, which is billed.

    Args:
        snapshot: the source.
        new_vm_name: name of the new VM.
        costs: the facts about its costs.
        now: the current time.
        rehearsal: the restore is only a test, and the VM is deleted afterwards.
    """
    flavor = snapshot.vm_flavor
    verb = "Rehearse a restore: create" if rehearsal else "Create"
    action = (
        f"{verb} a new, billed VM named {quoted(new_vm_name)} from snapshot {snapshot.id}"
        f" {quoted(snapshot.name)}. The source VM is not changed."
    )
    facts = {
        "new_vm_name": new_vm_name,
        "flavor": flavor.name if flavor else None,
        "gpus": _describe_gpus(flavor),
        "region": snapshot.region,
        "price_per_hour_estimate": estimate_price_per_hour(flavor, costs.prices),
        "currency": CURRENCY,
        "contract": describe_contract(costs),
        "credit": costs.credit.amount if costs.credit else None,
        "free_gpus": free_gpus(flavor, snapshot.region, costs),
        "warnings": (
            *_BILLING_WARNINGS,
            *(_REHEARSAL_WARNINGS if rehearsal else ()),
            *cost_warnings(flavor, snapshot.region, costs),
        ),
    }
    return _base_radius(snapshot, action, now).model_copy(update=facts)


def _base_radius(snapshot: Snapshot, action: str, now: datetime) -> BlastRadius:
    return BlastRadius(
        action=action,
        snapshot_id=snapshot.id,
        name=snapshot.name,
        state=snapshot.state,
        vm_id=snapshot.vm_id,
        vm_name=snapshot.vm_name,
        size=snapshot.size,
        created_at=snapshot.created_at,
        age_days=age_days(snapshot, now),
    )


def age_days(snapshot: Snapshot, now: datetime) -> float | None:
    """Return the days since the snapshot was taken, to one decimal."""
    if snapshot.created_at is None:
        return None
    return max(0.0, round((now - snapshot.created_at).total_seconds() / _SECONDS_PER_DAY, 1))


def is_last_ready(snapshot: Snapshot, siblings: Iterable[Snapshot]) -> bool | None:
    """Return whether it is ready, and the only ready one of its VM; None if its VM is unknown."""
    if snapshot.vm_id is None:
        return None
    return snapshot.is_copy and not _ready_siblings(snapshot, siblings)


def copies_of(snapshot: Snapshot, siblings: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the other ready snapshots of its VM, newest first; none if its VM is unknown."""
    if snapshot.vm_id is None:
        return []
    copies = _ready_siblings(snapshot, siblings)
    return sorted(copies, key=creation_order, reverse=True)


def creation_order(snapshot: Snapshot) -> tuple[datetime, int]:
    """Return the sort key of snapshots, oldest first; those of unknown age come first."""
    return snapshot.created_at or _LONG_AGO, snapshot.id


def is_newest_ready(snapshot: Snapshot, siblings: Iterable[Snapshot]) -> bool | None:
    """Return whether it is the newest ready one of its VM; None if its VM or time is unknown."""
    taken = snapshot.created_at
    if snapshot.vm_id is None or taken is None:
        return None
    return snapshot.is_copy and not any(
        other.created_at is None or other.created_at > taken
        for other in _ready_siblings(snapshot, siblings)
    )


def describe_image_vms(names: Sequence[str] | None) -> str:
    """Return the VMs that use an image in a few words; None means that they are unknown."""
    if names is None:
        return "the VMs that use it are not known"
    if not names:
        return "no VM uses it"
    shown = ", ".join(map(quoted, names[:_MAX_IMAGE_VMS]))
    more = len(names) - _MAX_IMAGE_VMS
    return f"VMs that use it: {shown}" + (f" and {more} more" if more > 0 else "")


def describe_derived_image(snapshot: Snapshot) -> str | None:
    """Describe the image made from this snapshot, which is deleted with it.

    Returns:
        None if it has no image, or if that is unknown.
    """
    image = snapshot.custom_image
    if image is None:
        return None
    shared = ", public" if image.is_public else ""
    return f"{quoted(image.name or '')} (id {image.id or 'unknown'}{shared})"


def describe_deleted_vm(snapshot: Snapshot) -> str:
    """Return a sentence about a snapshot whose VM is deleted."""
    if snapshot.state in STATES_WITHOUT_DATA:
        return "Its VM is deleted."
    return "Its VM is deleted: this data exists nowhere else."


def describe_own_deletion(sent_at: datetime) -> str:
    """Return a sentence about a snapshot that the cloud still shows after its deletion."""
    return (
        f"This server sent its deletion at {sent_at:%Y-%m-%d %H:%M} UTC, but the cloud still shows"
        " it. It does not count as a copy."
    )


def _count_older_and_newer(snapshot: Snapshot, siblings: Iterable[Snapshot]) -> dict[str, int]:
    """Count the ready snapshots of its VM that are older and newer, unless a time is unknown.

    Source: the vendor's guide: the first snapshot of a VM is full, later ones are incremental.
    """
    taken = snapshot.created_at
    others = _ready_siblings(snapshot, siblings)
    times = [other.created_at for other in others if other.created_at]
    if snapshot.vm_id is None or taken is None or len(times) < len(others):
        return {}
    return {
        "older_of_vm": sum(time < taken for time in times),
        "newer_of_vm": sum(time > taken for time in times),
    }


def _ready_siblings(snapshot: Snapshot, siblings: Iterable[Snapshot]) -> list[Snapshot]:
    return [
        other
        for other in siblings
        if other.id != snapshot.id and other.vm_id == snapshot.vm_id and other.is_copy
    ]


def _deletion_warnings(
    snapshot: Snapshot, now: datetime, *, last: bool | None, image_vms: Sequence[str] | None
) -> Iterable[str]:
    if last is not False:
        yield "It is the last ready snapshot of its VM." if last else "Its VM is unknown."
    if snapshot.deletion_sent_at is not None:
        yield describe_own_deletion(snapshot.deletion_sent_at)
    if snapshot.vm_gone:
        yield describe_deleted_vm(snapshot)
    elif snapshot.vm_gone is None and snapshot.vm_id is not None:
        yield "Whether its VM still exists is unknown."
    if (image := describe_derived_image(snapshot)) is not None:
        yield f"The image {image} made from it is deleted too; {describe_image_vms(image_vms)}."
    elif not snapshot.image_is_known:
        yield "Whether an image was made from it, which would be deleted too, is unknown."
    if is_stuck(snapshot, now):
        yield (
            f"Its status has been {cell_text(snapshot.status)} for more than a day. The cloud may"
            " still be working on it, or refuse to delete it."
        )
    if mixes_scripts(snapshot.name):
        yield "Its name mixes letters of several alphabets and may imitate another name."
    if snapshot.altered:
        yield f"Hidden or unreadable text was removed from: {', '.join(snapshot.altered)}."


def _describe_gpus(flavor: Flavor | None) -> str | None:
    if flavor is None or not flavor.gpu or not flavor.gpu_count:
        return None
    return f"{flavor.gpu_count} x {flavor.gpu}"
