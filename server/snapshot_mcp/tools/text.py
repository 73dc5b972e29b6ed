"""The answers as text: one line a thing, the fewest words that a model reads without a mistake.

What other people wrote stands in quotation marks, so that it cannot pass for words of ours; in a
column, one plain word stands alone.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from datetime import date, datetime

from snapshot_mcp.answers import (
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
from snapshot_mcp.consent.question import facts
from snapshot_mcp.untrusted import in_a_column, quoted, told

_Day = tuple[int | None, date | None]


def snapshot_list(answer: SnapshotList) -> str:
    """A line for each snapshot, under a line that says what its columns are."""
    shown = len(answer.snapshots)
    size = "" if answer.total_size is None else f", {answer.total_size} GB"
    lines = [_list_head(f"{answer.total} snapshots{size}", shown, answer.total)]
    if shown:
        year, crowded = _year(answer.snapshots), _crowded_days(answer.snapshots)
        taken = f"taken(UTC {year})" if year else "taken(UTC)"
        lines += [f"id name GB {taken} vm_id labels; state if not ready"]
        lines += (_snapshot_line(it, year, crowded) for it in answer.snapshots)
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
        line += f", {told(snapshot.size)} GB"
    return f"{answer.outcome}{line}\n{answer.next_step}"


def restore_result(answer: RestoreResult) -> str:
    """The plan, or what was seen to happen; and what to do next."""
    vm, line = answer.virtual_machine, ""
    if vm is not None:
        line = f": VM {vm.id} {quoted(vm.name)} is {told(vm.status)}"
    return "\n".join([f"{answer.outcome}{line}", *_plan_lines(answer), answer.next_step])


def delete_result(answer: DeleteResult) -> str:
    """The plan, or what was seen to happen; and what to do next."""
    head = f"{answer.outcome}: snapshot {answer.snapshot_id}"
    return "\n".join([head, *_plan_lines(answer), answer.next_step])


def _snapshot_line(snapshot: SnapshotSummary, year: int, crowded: Container[_Day]) -> str:
    columns = [
        str(snapshot.id),
        in_a_column(snapshot.name),
        told(snapshot.size),
        _short_time(snapshot, year, crowded),
        told(snapshot.vm_id),
        ",".join(map(in_a_column, snapshot.labels)),
        f"+{snapshot.more_labels} more" if snapshot.more_labels else "",
    ]
    return " ".join(columns).rstrip() + _state_unless_ready(snapshot)


def _state_unless_ready(snapshot: SnapshotSummary) -> str:
    match snapshot.state:
        case "ready":
            return ""
        case "unknown":
            return f"; unknown({in_a_column(snapshot.status or '')})"
        case state:
            return f"; {state}"


def _year(snapshots: Iterable[SnapshotSummary]) -> int:
    """The year of the newest: it is told once, above the lines."""
    return max((it.created_at.year for it in snapshots if it.created_at), default=0)


def _day(snapshot: SnapshotSummary) -> _Day:
    return snapshot.vm_id, snapshot.created_at.date() if snapshot.created_at else None


def _crowded_days(snapshots: Iterable[SnapshotSummary]) -> frozenset[_Day]:
    """Days with several snapshots of one VM: only there the time of day tells them apart."""
    days = Counter(map(_day, snapshots))
    return frozenset(day for day, count in days.items() if count > 1)


def _short_time(snapshot: SnapshotSummary, year: int, crowded: Container[_Day]) -> str:
    taken = snapshot.created_at
    if taken is None:
        return "?"
    day = f"{taken:%m-%d}" if taken.year == year else f"{taken:%Y-%m-%d}"
    return f"{day} {taken:%H:%M}" if _day(snapshot) in crowded else day


def _vm_names(snapshots: Iterable[SnapshotSummary]) -> Iterator[str]:
    # A VM has many snapshots: its name is told once.
    names = {it.vm_id: it.vm_name for it in snapshots if it.vm_id is not None and it.vm_name}
    pairs = [f"{vm_id} {told(name)}" for vm_id, name in sorted(names.items())]
    if pairs:
        yield "VMs: " + ", ".join(pairs)


def _vm_line(vm: VirtualMachineSummary) -> str:
    can = f"no: {vm.why_not}" if vm.why_not else "yes"
    columns = map(told, (vm.name, vm.status, vm.flavor, vm.region))
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
    status = told(snapshot.status)
    yield f"Snapshot {snapshot.id} {quoted(snapshot.name)}: {answer.state} (status {status})"
    taken, updated = _time(snapshot.created_at), _time(snapshot.updated_at)
    age = told(answer.age_days)
    yield f"size {told(snapshot.size)} GB, taken {taken} UTC ({age} days ago)"
    yield f"updated {updated} UTC, region {told(snapshot.region or snapshot.region_id)}"
    vm_status = told(snapshot.vm_status)
    yield f"VM {told(snapshot.vm_id)} {quoted(snapshot.vm_name or '')}, {vm_status}"


def _parts_of(answer: SnapshotDetails) -> Iterator[str]:
    snapshot, flavor = answer.snapshot, answer.snapshot.vm_flavor
    if flavor is not None:
        gpus = f", {flavor.gpu_count} x {told(flavor.gpu)}" if flavor.gpu_count else ""
        size = f"{told(flavor.cpu)} vCPU, {told(flavor.ram)} GB RAM"
        yield f"flavor {told(flavor.name)}: {size}{gpus}"
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
    yield ", ".join(facts(plan))
    yield from plan.warnings
    yield f"The person agrees by giving the words {quoted(answer.confirm_with or '')}."
    yield f"plan_token {answer.plan_token} (until {_time(answer.expires_at)} UTC)"


def _time(time: datetime | None) -> str:
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M}"
