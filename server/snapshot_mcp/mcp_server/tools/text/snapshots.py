"""The answers as text: one line a thing, the fewest words that a model reads without a mistake.

What other people wrote stands in quotation marks, so that it cannot pass for words of ours; in a
column, one plain word stands alone.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime

from snapshot_mcp.consent.question import plan_facts
from snapshot_mcp.core.sanitize import cell_text, quote_unless_word, quoted
from snapshot_mcp.models.snapshots import (
    CreateResult,
    DeleteResult,
    Planned,
    RestoreResult,
    SnapshotDetails,
    SnapshotList,
    SnapshotSummary,
    VirtualMachineList,
    VirtualMachineSummary,
)

_SAME_DAY = "="


def snapshot_list(answer: SnapshotList) -> str:
    """A line for each snapshot, under a line that says what its columns are."""
    shown = len(answer.snapshots)
    size = "" if answer.total_size is None else f", {answer.total_size} GB"
    lines = [_list_head(f"{answer.total} snapshots{size}", shown, answer.total)]
    if shown:
        year = _year(answer.snapshots)
        taken = f"taken(UTC {year})" if year else "taken(UTC)"
        lines += [f"id name GB {taken} vm_id labels; state if not ready; {_SAME_DAY} as above"]
        days = _days(answer.snapshots, year)
        lines += map(_snapshot_line, answer.snapshots, days)
        lines += _vm_names(answer.snapshots)
    return "\n".join([*lines, *_list_end(answer)])


def vm_list(answer: VirtualMachineList) -> str:
    """A line for each VM, under a line that says what its columns are."""
    shown = len(answer.virtual_machines)
    lines = [_list_head(f"{answer.total} VMs", shown, answer.total)]
    if shown:
        lines += ["id name status flavor region snapshot?"]
        lines += map(_vm_line, answer.virtual_machines)
    return "\n".join([*lines, *_list_end(answer)])


def snapshot_details(answer: SnapshotDetails) -> str:
    """The facts of one snapshot, a few to a line."""
    snapshot = answer.snapshot
    lines = [*_first_facts(answer)]
    if snapshot.description:
        lines.append(f"description {quoted(snapshot.description)}")
    if snapshot.labels:
        lines.append("labels " + ", ".join(map(quoted, snapshot.labels)))
    lines += _parts_of(answer)
    return "\n".join(lines)


def create_result(answer: CreateResult) -> str:
    """What was seen to happen, and what to do next."""
    snapshot, line = answer.snapshot, ""
    if snapshot is not None:
        line = f": snapshot {snapshot.id} {quoted(snapshot.name)} is {snapshot.state}"
        line += f", {cell_text(snapshot.size)} GB"
    return f"{answer.outcome}{line}\n{answer.next_step}"


def restore_result(answer: RestoreResult) -> str:
    """The plan, or what was seen to happen; and what to do next."""
    vm, line = answer.virtual_machine, ""
    if vm is not None:
        line = f": VM {vm.id} {quoted(vm.name)} is {cell_text(vm.status)}"
    if answer.took_seconds is not None:
        line += f", {answer.took_seconds:g} s after the order"
    return "\n".join([f"{answer.outcome}{line}", *_plan_lines(answer), answer.next_step])


def delete_result(answer: DeleteResult) -> str:
    """The plan, or what was seen to happen; and what to do next."""
    head = f"{answer.outcome}: snapshot {answer.snapshot_id}"
    return "\n".join([head, *_plan_lines(answer), answer.next_step])


def _snapshot_line(snapshot: SnapshotSummary, day: str) -> str:
    labels = ",".join(map(quote_unless_word, snapshot.labels))
    line = f"{snapshot.id} {quote_unless_word(snapshot.name)} {cell_text(snapshot.size)} {day}"
    line += f" {cell_text(snapshot.vm_id)}"
    line += f" {labels}" if labels else ""
    line += f" +{snapshot.more_labels} more" if snapshot.more_labels else ""
    return line + _state_unless_ready(snapshot)


def _state_unless_ready(snapshot: SnapshotSummary) -> str:
    match snapshot.state:
        case "ready":
            return ""
        case "unknown":
            return f"; unknown({quote_unless_word(snapshot.status or '')})"
        case state:
            return f"; {state}"


def _year(snapshots: Iterable[SnapshotSummary]) -> int:
    """The year of the newest: it is told once, above the lines."""
    return max((it.created_at.year for it in snapshots if it.created_at), default=0)


def _days(snapshots: Sequence[SnapshotSummary], year: int) -> Iterator[str]:
    """The day of each, as short as it may be; a day that stands in the line above is not repeated.

    Where one VM has several on one day, the time of day tells them apart.
    """
    days = [(it.vm_id, it.created_at.date()) if it.created_at else None for it in snapshots]
    crowded = {day for day, count in Counter(days).items() if count > 1 and day}
    above = None
    for own, it in zip(days, snapshots, strict=True):
        if own is None or it.created_at is None:
            above = None
            yield "?"
            continue
        _, day = own
        told = _SAME_DAY if day == above else _day(day, year)
        yield f"{told} {it.created_at:%H:%M}" if own in crowded else told
        above = day


def _day(day: date, year: int) -> str:
    return day.isoformat()[5:] if day.year == year else day.isoformat()


def _vm_names(snapshots: Iterable[SnapshotSummary]) -> Iterator[str]:
    # Most snapshots are named after their VM; of the others, it is told once.
    names = {
        it.vm_id: it.vm_name
        for it in snapshots
        if it.vm_id is not None and it.vm_name and not it.name.startswith(it.vm_name)
    }
    pairs = [f"{vm_id} {cell_text(name)}" for vm_id, name in sorted(names.items())]
    if pairs:
        yield "VMs not named so: " + ", ".join(pairs)


def _vm_line(vm: VirtualMachineSummary) -> str:
    can = f"no: {vm.why_not}" if vm.why_not else "yes"
    columns = map(cell_text, (vm.name, vm.status, vm.flavor, vm.region))
    return " ".join([str(vm.id), *columns, can])


def _list_head(counted: str, shown: int, total: int) -> str:
    return counted if shown == total else f"{counted}; {shown} here"


def _list_end(answer: SnapshotList | VirtualMachineList) -> Iterator[str]:
    if answer.unreadable:
        yield f"{answer.unreadable} entries could not be read and are not counted."
    if answer.next_cursor:
        yield f"next_cursor {answer.next_cursor}"


def _first_facts(answer: SnapshotDetails) -> Iterator[str]:
    snapshot = answer.snapshot
    status = cell_text(snapshot.status)
    yield f"Snapshot {snapshot.id} {quoted(snapshot.name)}: {answer.state} (status {status})"
    taken, updated = _time(snapshot.created_at), _time(snapshot.updated_at)
    age = cell_text(answer.age_days)
    yield f"size {cell_text(snapshot.size)} GB, taken {taken} UTC ({age} days ago)"
    yield f"updated {updated} UTC, region {cell_text(snapshot.region or snapshot.region_id)}"
    vm_status = cell_text(snapshot.vm_status)
    yield f"VM {cell_text(snapshot.vm_id)} {quoted(snapshot.vm_name or '')}, {vm_status}"


def _parts_of(answer: SnapshotDetails) -> Iterator[str]:
    snapshot, flavor = answer.snapshot, answer.snapshot.vm_flavor
    if flavor is not None:
        gpus = f", {flavor.gpu_count} x {cell_text(flavor.gpu)}" if flavor.gpu_count else ""
        size = f"{cell_text(flavor.cpu)} vCPU, {cell_text(flavor.ram)} GB RAM"
        yield f"flavor {cell_text(flavor.name)}: {size}{gpus}"
    if snapshot.vm_image is not None:
        yield f"system {quoted(snapshot.vm_image.name or '')}"
    if snapshot.vm_environment is not None:
        yield f"environment {quoted(snapshot.vm_environment.name or '')}"
    if answer.derived_image is not None:
        yield f"derived image {answer.derived_image}, deleted together with it"
    if answer.last_ready_of_vm:
        yield "It is the last ready snapshot of its VM."
    elif answer.newest_of_vm:
        yield "It is the newest ready snapshot of its VM."
    if answer.vm_gone:
        yield "Its VM is deleted: this data exists nowhere else."
    if snapshot.altered:
        yield f"Hidden or excess characters were removed from: {', '.join(snapshot.altered)}."


def _plan_lines(answer: Planned) -> Iterator[str]:
    if answer.plan is None:
        return
    plan = answer.plan
    yield plan.action
    yield ", ".join(plan_facts(plan))
    yield from plan.warnings
    yield f"The person agrees by giving the words {quoted(answer.confirm_with or '')}."
    yield f"plan_token {answer.plan_token} (until {_time(answer.expires_at)} UTC)"


def _time(time: datetime | None) -> str:
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M}"
