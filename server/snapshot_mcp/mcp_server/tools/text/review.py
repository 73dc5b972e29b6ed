"""A review as text: a heading a finding, and a short line for each entry that it names.

What other people wrote stands in quotation marks, unless it is one plain word.
"""

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


def review(answer: Review) -> str:
    """The totals, then each finding that has entries."""
    return "\n".join(_lines(answer))


def _lines(answer: Review) -> Iterator[str]:
    yield (
        f"{answer.snapshots} snapshots, {answer.size} GB, about {answer.month_cost_estimate:.2f} a"
        f" month (an estimate); {answer.virtual_machines} VMs. Snapshots: id name GB taken vm_id"
    )
    if answer.size_not_known:
        yield f"{answer.size_not_known} are of unknown size, counted as 0 GB."
    if answer.unreadable:
        yield f"{answer.unreadable} entries could not be read and are not counted."
    yield from _snapshots("Their VM is deleted", answer.vm_gone)
    yield from _snapshots("Failed, protect nothing", answer.failed)
    days = answer.recent_days
    yield from _snapshots(
        f"Only one of its VM, over {days} days old, never followed", answer.never_followed
    )
    yield from _unprotected(answer.no_recent, days)
    yield from _rehearsals(answer.rehearsals)
    yield from _growth(answer.growth)


def _snapshots(heading: str, finding: SnapshotFinding) -> Iterator[str]:
    if not finding.count:
        return
    yield f"{heading}: {finding.count}, {finding.size} GB"
    for snapshot in finding.snapshots:
        name, size, vm_id = map(cell_text, (snapshot.name, snapshot.size, snapshot.vm_id))
        yield f"{snapshot.id} {name} {size} {_day(snapshot.created_at)} {vm_id}"
    yield from _more(finding.more)


def _unprotected(finding: VmFinding, days: int) -> Iterator[str]:
    if not finding.count:
        return
    yield f"VMs without a ready snapshot of the last {days} days: {finding.count} (id name last)"
    for it in finding.virtual_machines:
        yield f"{it.id} {cell_text(it.name)} {_last(it)}"
    yield from _more(finding.more)


def _rehearsals(finding: VmFinding) -> Iterator[str]:
    if not finding.count:
        return
    yield f"Rehearsal VMs still there, billed until a person deletes them: {finding.count}"
    for it in finding.virtual_machines:
        yield f"{it.id} {cell_text(it.name)} {cell_text(it.status)} made {_day(it.created_at)}"
    yield from _more(finding.more)


def _growth(finding: GrowthFinding) -> Iterator[str]:
    if not finding.count:
        return
    yield f"Grown in 30 days: {finding.count} VMs, {finding.size} GB (id name +count +GB; in all)"
    for it in finding.virtual_machines:
        grown = f"+{it.recent_count} +{it.recent_size}; {it.count}, {it.size}"
        yield f"{cell_text(it.vm_id)} {cell_text(it.vm_name)} {grown}"
    yield from _more(finding.more)


def _more(more: int) -> Iterator[str]:
    if more:
        yield f"{more} more"


def _last(vm: FoundVm) -> str:
    return _day(vm.last_snapshot) if vm.ready_snapshots else "never"


def _day(time: datetime | None) -> str:
    return "?" if time is None else f"{time:%Y-%m-%d}"
