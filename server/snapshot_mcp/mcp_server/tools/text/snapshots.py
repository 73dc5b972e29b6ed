"""Text of the results about snapshots and VMs: one line for each, in few words.

Text that other people wrote is quoted, so that a model does not take it for the server's own words.
In a column, a single plain word needs no quotation marks.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime

from snapshot_mcp.consent.question import plan_facts
from snapshot_mcp.core.sanitize import cell_text, quote_unless_word, quoted
from snapshot_mcp.models.rehearsals import DeleteRehearsalVmResult
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


def render_snapshot_list(result: SnapshotList) -> str:
    """Return one line for each snapshot, below a line with the names of the columns."""
    shown = len(result.snapshots)
    size = "" if result.total_size is None else f", {result.total_size} GB"
    lines = [_list_head(f"{result.total} snapshots{size}", shown, result.total)]
    if shown:
        year = _year(result.snapshots)
        taken = f"taken(UTC {year})" if year else "taken(UTC)"
        lines += [f"id name GB {taken} vm_id labels; state if not ready; {_SAME_DAY} as above"]
        days = _days(result.snapshots, year)
        lines += map(_snapshot_line, result.snapshots, days)
        lines += _vm_names(result.snapshots)
    return "\n".join([*lines, *_list_end(result)])


def render_vm_list(result: VirtualMachineList) -> str:
    """Return one line for each VM, below a line with the names of the columns."""
    shown = len(result.virtual_machines)
    lines = [_list_head(f"{result.total} VMs", shown, result.total)]
    if shown:
        lines += ["id name status flavor region snapshot?"]
        lines += map(_vm_line, result.virtual_machines)
    return "\n".join([*lines, *_list_end(result)])


def render_snapshot_details(result: SnapshotDetails) -> str:
    """Return the facts about one snapshot, a few on each line."""
    snapshot = result.snapshot
    lines = [*_main_facts(result)]
    if snapshot.description:
        lines.append(f"description {quoted(snapshot.description)}")
    if snapshot.labels is None:
        lines.append("labels unknown")
    elif snapshot.labels:
        lines.append("labels " + ", ".join(map(quoted, snapshot.labels)))
    lines += [*_detail_facts(result), *_conclusions(result)]
    return "\n".join(lines)


def render_create_result(result: CreateResult) -> str:
    """Return the outcome, the snapshot and the next step."""
    snapshot, line = result.snapshot, ""
    if snapshot is not None:
        line = f": snapshot {snapshot.id} {quoted(snapshot.name)} is {snapshot.state}"
        line += f", {cell_text(snapshot.size)} GB"
    return f"{result.outcome}{line}\n{result.next_step}"


def render_restore_result(result: RestoreResult) -> str:
    """Return the outcome, the plan or the new VM, and the next step."""
    vm, line = result.virtual_machine, ""
    if vm is not None:
        line = f": VM {vm.id} {quoted(vm.name)} is {cell_text(vm.status)}"
    if result.took_seconds is not None:
        line += f", {result.took_seconds:g} s after the request"
    return "\n".join([f"{result.outcome}{line}", *_plan_lines(result), result.next_step])


def render_delete_result(result: DeleteResult) -> str:
    """Return the outcome, the plan if there is one, and the next step."""
    head = f"{result.outcome}: snapshot {result.snapshot_id}"
    return "\n".join([head, *_plan_lines(result), result.next_step])


def render_vm_deletion(result: DeleteRehearsalVmResult) -> str:
    """Return the outcome, the plan if there is one, and the next step."""
    head = f"{result.outcome}: VM {result.vm_id}"
    return "\n".join([head, *_plan_lines(result), result.next_step])


def _snapshot_line(snapshot: SnapshotSummary, day: str) -> str:
    labels = "?" if snapshot.labels is None else ",".join(map(quote_unless_word, snapshot.labels))
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
    """Return the newest year, which the line above the list names once; 0 if none is known."""
    years = (snapshot.created_at.year for snapshot in snapshots if snapshot.created_at)
    return max(years, default=0)


def _days(snapshots: Sequence[SnapshotSummary], year: int) -> Iterator[str]:
    """Return the day of each snapshot, without a day that the previous line shows.

    The time of day follows where one VM has several snapshots on one day.
    """
    vm_days = [
        (snapshot.vm_id, snapshot.created_at.date()) if snapshot.created_at else None
        for snapshot in snapshots
    ]
    shared_days = {vm_day for vm_day, count in Counter(vm_days).items() if count > 1 and vm_day}
    previous_day = None
    for vm_day, snapshot in zip(vm_days, snapshots, strict=True):
        if vm_day is None or snapshot.created_at is None:
            previous_day = None
            yield "?"
            continue
        _, day = vm_day
        text = _SAME_DAY if day == previous_day else _day(day, year)
        yield f"{text} {snapshot.created_at:%H:%M}" if vm_day in shared_days else text
        previous_day = day


def _day(day: date, year: int) -> str:
    return day.isoformat()[5:] if day.year == year else day.isoformat()


def _vm_names(snapshots: Iterable[SnapshotSummary]) -> Iterator[str]:
    # Most snapshots are named after their VM; the other names follow once, below the list.
    names = {
        snapshot.vm_id: snapshot.vm_name
        for snapshot in snapshots
        if snapshot.vm_id is not None
        and snapshot.vm_name
        and not snapshot.name.startswith(snapshot.vm_name)
    }
    pairs = [f"{vm_id} {cell_text(name)}" for vm_id, name in sorted(names.items())]
    if pairs:
        yield "Other VM names: " + ", ".join(pairs)


def _vm_line(vm: VirtualMachineSummary) -> str:
    answer = {True: "yes", False: "no", None: "unknown"}[vm.can_snapshot]
    can = f"{answer}: {vm.why_not}" if vm.why_not else answer
    columns = map(cell_text, (vm.name, vm.status, vm.flavor, vm.region))
    return " ".join([str(vm.id), *columns, can])


def _list_head(counted: str, shown: int, total: int) -> str:
    return counted if shown == total else f"{counted}; {shown} here"


def _list_end(result: SnapshotList | VirtualMachineList) -> Iterator[str]:
    if result.unreadable:
        yield f"{result.unreadable} entries could not be read and are not counted."
    if result.next_cursor:
        yield f"next_cursor {result.next_cursor}"


def _main_facts(result: SnapshotDetails) -> Iterator[str]:
    snapshot = result.snapshot
    status = cell_text(snapshot.status)
    yield f"Snapshot {snapshot.id} {quoted(snapshot.name)}: {result.state} (status {status})"
    taken, updated = _time(snapshot.created_at), _time(snapshot.updated_at)
    age = cell_text(result.age_days)
    yield f"size {cell_text(snapshot.size)} GB, taken {taken} UTC ({age} days ago)"
    yield f"updated {updated} UTC, region {cell_text(snapshot.region or snapshot.region_id)}"
    vm_status = cell_text(snapshot.vm_status)
    yield f"VM {cell_text(snapshot.vm_id)} {quoted(snapshot.vm_name or '')}, {vm_status}"


def _detail_facts(result: SnapshotDetails) -> Iterator[str]:
    snapshot, flavor = result.snapshot, result.snapshot.vm_flavor
    if flavor is not None:
        gpus = f", {flavor.gpu_count} x {cell_text(flavor.gpu)}" if flavor.gpu_count else ""
        size = f"{cell_text(flavor.cpu)} vCPU, {cell_text(flavor.ram)} GB RAM"
        yield f"flavor {cell_text(flavor.name)}: {size}{gpus}"
    if snapshot.vm_image is not None:
        yield f"system {quoted(snapshot.vm_image.name or '')}"
    if snapshot.vm_environment is not None:
        yield f"environment {quoted(snapshot.vm_environment.name or '')}"
    if result.derived_image is not None:
        yield f"derived image {result.derived_image}, deleted together with it"
    elif not snapshot.image_is_known:
        yield "image made from it: unknown"


def _conclusions(result: SnapshotDetails) -> Iterator[str]:
    # A start should not load the rules.
    from snapshot_mcp.rules.blast_radius import (  # noqa: PLC0415 - only this text needs them
        describe_deleted_vm,
        describe_own_deletion,
    )

    snapshot = result.snapshot
    match result.state:
        case "failed":
            yield "It failed: it cannot be restored and is not a copy of its VM."
        case "deleting":
            yield "It is being deleted: it cannot be restored and is not a copy of its VM."
        case "pending" if result.stuck:
            yield (
                "It has been pending for more than a day, so it is stuck: it is not a copy of its"
                " VM, and can be deleted."
            )
        case _:
            pass
    if result.last_ready_of_vm:
        yield "It is the last ready snapshot of its VM."
    elif result.newest_of_vm:
        yield "It is the newest ready snapshot of its VM."
    if snapshot.deletion_sent_at is not None:
        yield describe_own_deletion(snapshot.deletion_sent_at)
    if result.vm_gone:
        yield describe_deleted_vm(snapshot)
    if snapshot.altered:
        yield f"Hidden, excess or unreadable text was removed from: {', '.join(snapshot.altered)}."


def _plan_lines(result: Planned | DeleteRehearsalVmResult) -> Iterator[str]:
    if result.plan is None:
        return
    plan = result.plan
    yield plan.action
    yield ", ".join(plan_facts(plan))
    yield from plan.warnings
    yield f"The person agrees by giving the words {quoted(result.confirm_with or '')}."
    yield f"plan_token {result.plan_token} (until {_time(result.expires_at)} UTC)"


def _time(time: datetime | None) -> str:
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M}"
