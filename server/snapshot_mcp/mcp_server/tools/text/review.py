"""Text of a review: one heading for each finding, and a short line for each of its entries."""

from collections.abc import Iterator
from datetime import datetime

from snapshot_mcp.core.sanitize import cell_text
from snapshot_mcp.models.review import (
    FoundVm,
    GrowthFinding,
    Review,
    SnapshotFinding,
    VmFinding,
)


def render_review(result: Review) -> str:
    """Return the totals, and each finding that has entries."""
    return "\n".join(_review_lines(result))


def _review_lines(result: Review) -> Iterator[str]:
    currency = result.currency
    yield (
        f"{result.snapshots} snapshots, {result.size} GB, about {result.month_cost_estimate:.2f}"
        f" {currency} a month (an estimate); {result.virtual_machines} VMs. Snapshots: id name GB"
        " taken vm_id"
    )
    if result.month_spend is not None:
        yield f"Billed for snapshots in the last 30 days: {result.month_spend:.2f} {currency}."
    if result.size_not_known:
        yield f"{result.size_not_known} are of unknown size, counted as 0 GB."
    if result.unreadable:
        yield f"{result.unreadable} entries could not be read and are not counted."
    yield from _snapshot_lines("Their VM is deleted", result.vm_gone)
    yield from _snapshot_lines("Failed, protect nothing", result.failed)
    yield from _snapshot_lines(
        "Stuck: pending for over a day, protect nothing, can be deleted", result.stuck
    )
    yield from _snapshot_lines("Being deleted, protect nothing", result.deleting)
    days = result.recent_days
    yield from _snapshot_lines(
        f"Only one of its VM, over {days} days old, never followed", result.never_followed
    )
    yield from _unprotected_lines(result.no_recent, days)
    yield from _cannot_snapshot_lines(result.cannot_snapshot)
    yield from _rehearsal_lines(result.rehearsals)
    yield from _growth_lines(result.growth)


def _snapshot_lines(heading: str, finding: SnapshotFinding) -> Iterator[str]:
    if not finding.count:
        return
    yield f"{heading}: {finding.count}, {finding.size} GB"
    for snapshot in finding.snapshots:
        name, size, vm_id = map(cell_text, (snapshot.name, snapshot.size, snapshot.vm_id))
        yield f"{snapshot.id} {name} {size} {_day(snapshot.created_at)} {vm_id}"
    yield from _more_line(finding.more)


def _unprotected_lines(finding: VmFinding, days: int) -> Iterator[str]:
    if not finding.count:
        return
    yield f"VMs without a ready snapshot of the last {days} days: {finding.count} (id name last)"
    for vm in finding.virtual_machines:
        yield f"{vm.id} {cell_text(vm.name)} {_last_snapshot(vm)}"
    yield from _more_line(finding.more)


def _cannot_snapshot_lines(finding: VmFinding) -> Iterator[str]:
    if not finding.count:
        return
    yield f"VMs that cannot be snapshotted, so save their data in another way: {finding.count}"
    for vm in finding.virtual_machines:
        yield f"{vm.id} {cell_text(vm.name)}: {vm.why_not}"
    yield from _more_line(finding.more)


def _rehearsal_lines(finding: VmFinding) -> Iterator[str]:
    if not finding.count:
        return
    yield f"Rehearsal VMs still there, billed until deleted (delete_rehearsal_vm): {finding.count}"
    for vm in finding.virtual_machines:
        yield f"{vm.id} {cell_text(vm.name)} {cell_text(vm.status)} made {_day(vm.created_at)}"
    yield from _more_line(finding.more)


def _growth_lines(finding: GrowthFinding) -> Iterator[str]:
    if not finding.count:
        return
    yield f"Grown in 30 days: {finding.count} VMs, {finding.size} GB (id name +count +GB; total)"
    for vm in finding.virtual_machines:
        growth = f"+{vm.recent_count} +{vm.recent_size}; {vm.count}, {vm.size}"
        yield f"{cell_text(vm.vm_id)} {cell_text(vm.vm_name)} {growth}"
    yield from _more_line(finding.more)


def _more_line(more: int) -> Iterator[str]:
    if more:
        yield f"{more} more"


def _last_snapshot(vm: FoundVm) -> str:
    return _day(vm.last_snapshot) if vm.ready_snapshots else "never"


def _day(time: datetime | None) -> str:
    return "?" if time is None else f"{time:%Y-%m-%d}"
