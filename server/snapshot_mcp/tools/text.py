"""The answers as text: one line a thing, the fewest words that a model reads without a mistake.

What other people wrote stands in quotation marks, so that it cannot pass for words of ours; in a
column, one plain word stands alone.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from snapshot_mcp.answers import (
    BlastRadius,
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
from snapshot_mcp.untrusted import in_a_column, quoted


def snapshot_list(answer: SnapshotList) -> str:
    """A line for each snapshot, under a line that says what its columns are."""
    head = f"{answer.total} snapshots, {answer.total_size} GB"
    if len(answer.snapshots) < answer.total:
        head += f"; {len(answer.snapshots)} here"
    lines = [head]
    if answer.snapshots:
        lines += ["id name state GB taken(UTC) vm_id labels"]
        lines += map(_snapshot_line, answer.snapshots)
        lines += [_vm_names(answer.snapshots)]
    lines += _list_end(answer.unreadable, answer.next_cursor)
    return "\n".join(lines)


def vm_list(answer: VirtualMachineList) -> str:
    """A line for each VM, under a line that says what its columns are."""
    head = f"{answer.total} VMs"
    if len(answer.virtual_machines) < answer.total:
        head += f"; {len(answer.virtual_machines)} here"
    lines = [head]
    if answer.virtual_machines:
        lines += ["id name status flavor region snapshot?"]
        lines += map(_vm_line, answer.virtual_machines)
    lines += _list_end(answer.unreadable, answer.next_cursor)
    return "\n".join(lines)


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
        line += f", {_or_unknown(snapshot.size)} GB"
    return f"{answer.outcome}{line}\n{answer.next_step}"


def restore_result(answer: RestoreResult) -> str:
    """The plan, or what was seen to happen; and what to do next."""
    vm, line = answer.virtual_machine, ""
    if vm is not None:
        line = f": VM {vm.id} {quoted(vm.name)} is {vm.status or 'on its way'}"
    return "\n".join([f"{answer.outcome}{line}", *_plan_lines(answer), answer.next_step])


def delete_result(answer: DeleteResult) -> str:
    """The plan, or what was seen to happen; and what to do next."""
    head = f"{answer.outcome}: snapshot {answer.snapshot_id}"
    return "\n".join([head, *_plan_lines(answer), answer.next_step])


def _snapshot_line(snapshot: SnapshotSummary) -> str:
    state: str = snapshot.state
    if snapshot.state == "unknown":
        state += f"({in_a_column(snapshot.status or '')})"
    columns = [
        str(snapshot.id),
        in_a_column(snapshot.name),
        state,
        _or_unknown(snapshot.size),
        _time(snapshot.created_at),
        _or_unknown(snapshot.vm_id),
        ",".join(map(in_a_column, snapshot.labels)),
    ]
    return " ".join(columns).rstrip()


def _vm_names(snapshots: Iterable[SnapshotSummary]) -> str:
    # A VM has many snapshots: its name is told once.
    names = {it.vm_id: it.vm_name for it in snapshots if it.vm_id is not None and it.vm_name}
    told = (f"{vm_id} {in_a_column(name or '')}" for vm_id, name in sorted(names.items()))
    return "VMs: " + ", ".join(told)


def _vm_line(vm: VirtualMachineSummary) -> str:
    can = f"no: {vm.why_not}" if vm.why_not else "yes"
    told = (in_a_column(text or "?") for text in (vm.name, vm.status, vm.flavor, vm.region))
    return " ".join([str(vm.id), *told, can])


def _list_end(unreadable: int | None, next_cursor: str) -> Iterator[str]:
    if unreadable:
        yield f"{unreadable} entries could not be read and are not counted."
    if next_cursor:
        yield f"next_cursor {next_cursor}"


def _first_facts(answer: SnapshotDetails) -> Iterator[str]:
    snapshot = answer.snapshot
    status = snapshot.status or "not told"
    yield f"Snapshot {snapshot.id} {quoted(snapshot.name)}: {answer.state} (status {status})"
    taken, updated = _time(snapshot.created_at), _time(snapshot.updated_at)
    age = _or_unknown(answer.age_days)
    yield f"size {_or_unknown(snapshot.size)} GB, taken {taken} UTC ({age} days ago)"
    yield f"updated {updated} UTC, region {snapshot.region or _or_unknown(snapshot.region_id)}"
    vm_status = snapshot.vm_status or "status not told"
    yield f"VM {_or_unknown(snapshot.vm_id)} {quoted(snapshot.vm_name or '')}, {vm_status}"


def _parts_of(answer: SnapshotDetails) -> Iterator[str]:
    snapshot, flavor = answer.snapshot, answer.snapshot.vm_flavor
    if flavor is not None:
        gpus = f", {flavor.gpu_count} x {flavor.gpu}" if flavor.gpu_count else ""
        yield f"flavor {flavor.name}: {flavor.cpu} vCPU, {flavor.ram} GB RAM{gpus}"
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
    yield ", ".join(_plan_facts(plan))
    yield from plan.warnings
    yield f"The person agrees by giving the words {quoted(answer.confirm_with or '')}."
    yield f"plan_token {answer.plan_token} (until {_time(answer.expires_at)} UTC)"


def _plan_facts(plan: BlastRadius) -> Iterator[str]:
    yield f"VM {_or_unknown(plan.vm_id)} {quoted(plan.vm_name or '')}"
    yield f"{_or_unknown(plan.size)} GB"
    yield f"{_or_unknown(plan.age_days)} days old"
    yield plan.state
    if plan.new_vm_name is not None:
        yield f"flavor {plan.flavor or '?'}"
        yield plan.gpus or "no GPUs"
        yield f"region {plan.region or '?'}"
        price = plan.price_per_hour_estimate
        yield "price not known" if price is None else f"about {price} per hour (an estimate)"


def _time(time: datetime | None) -> str:
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M}"


def _or_unknown(value: object) -> str:
    return "?" if value is None else str(value)
