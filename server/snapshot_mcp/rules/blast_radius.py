"""Blast radius: what a delete or a restore would affect, computed before it happens."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from snapshot_mcp.core.sanitize import cell_text, mixes_scripts, quoted
from snapshot_mcp.models.cloud import Flavor, Snapshot
from snapshot_mcp.models.snapshots import BlastRadius
from snapshot_mcp.rules.eligibility import is_stuck

_SECONDS_PER_DAY = 86_400
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_BILLING_WARNINGS = ("The new VM is billed from its creation until it is deleted.",)
_REHEARSAL_WARNINGS = (
    "This server cannot delete VMs: a person must delete it after the rehearsal.",
)


def deletion_blast_radius(
    snapshot: Snapshot,
    siblings: Iterable[Snapshot],
    now: datetime,
    *,
    copies: Iterable[Snapshot] | None = None,
) -> BlastRadius:
    """Return what the deletion of `snapshot` would affect.

    Args:
        snapshot: the target.
        siblings: all snapshots of the same VM, with or without the target.
        now: the current time.
        copies: those of the siblings that were read one by one, which decide whether the target is
            the last ready one; None for all.
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
        "warnings": tuple(_deletion_warnings(snapshot, now, last=last, image=image)),
    }
    action = f"Delete snapshot {snapshot.id} {quoted(snapshot.name)} permanently."
    return _base_radius(snapshot, action, now).model_copy(update=facts)


def restore_blast_radius(
    snapshot: Snapshot,
    new_vm_name: str,
    prices: Mapping[str, float],
    now: datetime,
    *,
    rehearsal: bool = False,
) -> BlastRadius:
    """Return what a restore of `snapshot` would create: a new VM, which is billed.

    Args:
        snapshot: the source.
        new_vm_name: name of the new VM.
        prices: prices per hour by resource name; may be empty.
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
        "price_per_hour_estimate": estimate_price_per_hour(flavor, prices),
        "warnings": _BILLING_WARNINGS + (_REHEARSAL_WARNINGS if rehearsal else ()),
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
    """Return whether it is the only ready snapshot of its VM; None if its VM is unknown."""
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


def describe_derived_image(snapshot: Snapshot) -> str | None:
    """Describe the image made from this snapshot, which is deleted with it; None without one."""
    image = snapshot.custom_image
    if image is None:
        return None
    shared = ", public" if image.is_public else ""
    return f"{quoted(image.name or '')} (id {image.id or 'unknown'}{shared})"


def describe_own_deletion(sent_at: datetime) -> str:
    """Return a sentence about a snapshot that the cloud still shows after its deletion."""
    return (
        f"This server sent its deletion at {sent_at:%Y-%m-%d %H:%M} UTC, but the cloud still shows"
        " it. It does not count as a copy."
    )


def estimate_price_per_hour(flavor: Flavor | None, prices: Mapping[str, float]) -> float | None:
    """Estimate the price from the GPUs, or else from vCPUs and memory; None without a price.

    Source: resource names of the price list in the vendor's recorded replies.
    """
    if flavor is None:
        return None
    if flavor.gpu and flavor.gpu_count:
        gpu = prices.get(flavor.gpu)
        return None if gpu is None else round(gpu * flavor.gpu_count, 4)
    cpu, memory = prices.get("vCPU"), prices.get("RAM")
    if None in (cpu, memory, flavor.cpu, flavor.ram):
        return None
    return round((cpu or 0) * (flavor.cpu or 0) + (memory or 0) * (flavor.ram or 0), 4)


def _count_older_and_newer(snapshot: Snapshot, siblings: Iterable[Snapshot]) -> dict[str, int]:
    """Count the ready snapshots of its VM that are older and newer.

    Source: the vendor's guide: the first snapshot of a VM is full, later ones are incremental.
    """
    taken = snapshot.created_at
    if taken is None:
        return {}
    others = _ready_siblings(snapshot, siblings)
    times = [other.created_at for other in others if other.created_at]
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
    snapshot: Snapshot, now: datetime, *, last: bool | None, image: str | None
) -> Iterable[str]:
    if last is not False:
        yield "It is the last ready snapshot of its VM." if last else "Its VM is unknown."
    if snapshot.deletion_sent_at is not None:
        yield describe_own_deletion(snapshot.deletion_sent_at)
    if snapshot.vm_gone:
        yield "Its VM is deleted: this data exists nowhere else."
    if image is not None:
        yield f"The image {image} made from it is deleted too."
    if is_stuck(snapshot, now):
        yield (
            f"Its status has been {cell_text(snapshot.status)} for more than a day. The cloud may"
            " still be working on it, or refuse to delete it."
        )
    if mixes_scripts(snapshot.name):
        yield "Its name mixes letters of several alphabets and may imitate another name."
    if snapshot.altered:
        yield f"Hidden characters were removed from: {', '.join(snapshot.altered)}."


def _describe_gpus(flavor: Flavor | None) -> str | None:
    if flavor is None or not flavor.gpu or not flavor.gpu_count:
        return None
    return f"{flavor.gpu_count} x {flavor.gpu}"
