"""Look up facts about snapshots that the cloud's replies omit.

A list may contain less than the reply about a single snapshot: no region, VM name, VM status or
image. A fact that cannot be looked up stays unknown; it is never taken as a shared or empty value.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.parsing import parse_virtual_machine
from snapshot_mcp.core.errors import CloudError, NotFoundError, ProtocolError
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.operations.pagination import PAGE_SIZE, collect_pages

T = TypeVar("T")

MAX_SINGLE_READS = 100
"""Maximum number of snapshots that one call looks up one by one. The cloud accepts 500 requests a
minute, for all callers together."""
MAX_CONCURRENT_READS = 8

_VM_FIELDS = frozenset({"vm_name", "vm_status"})
_DELETED = "DELETED"


class _ListedVm(NamedTuple):
    id: int
    name: str
    status: str | None


async def read_snapshot(reader: CloudReader, snapshot_id: int) -> Snapshot:
    """Return one snapshot, with the facts about its VM and its region also if the reply omits them.

    Raises:
        NotFoundError: there is no such snapshot.
        CloudError: the snapshot could not be read.
    """
    snapshot = await reader.get_snapshot(snapshot_id)
    if snapshot.region is None and snapshot.region_id is not None:
        snapshot = _with_region(snapshot, await _read_regions(reader))
    if snapshot.vm_id is None or not any(is_unknown(snapshot, name) for name in _VM_FIELDS):
        return snapshot
    try:
        vm = await reader.get_virtual_machine(snapshot.vm_id)
    except NotFoundError:
        return _with_vm(snapshot, None)
    except (CloudError, ProtocolError):
        return snapshot
    return _with_vm(snapshot, _ListedVm(vm.id, vm.name, vm.status))


async def complete_list(
    reader: CloudReader, snapshots: Sequence[Snapshot], fields: Collection[str]
) -> list[Snapshot]:
    """Return the snapshots of a list with `fields` looked up where the list omits them.

    Regions and VMs are looked up in their lists. What is still unknown is read from the single
    snapshots, the oldest first and at most `MAX_SINGLE_READS`; the others stay as they are.

    Raises:
        CloudError: the list of VMs could not be read.
    """
    completed = list(snapshots)
    if "region" in fields and any(_lacks(completed, "region")):
        regions = _known_regions(completed) | await _read_regions(reader)
        completed = [_with_region(snapshot, regions) for snapshot in completed]
    if any(_lacks(completed, name) for name in _VM_FIELDS.intersection(fields)):
        completed = await add_vm_facts(reader, completed)
    incomplete = {
        snapshot.id for name in fields for snapshot in completed if is_unknown(snapshot, name)
    }
    oldest = sorted(incomplete)[:MAX_SINGLE_READS]
    singles = await read_each(oldest, lambda snapshot_id: _read_or_none(reader, snapshot_id))
    return [
        _fill_in(snapshot, singles.get(snapshot.id), fields) if singles else snapshot
        for snapshot in completed
    ]


async def add_vm_facts(reader: CloudReader, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the snapshots with the names and statuses of their VMs from the list of VMs.

    A VM that a complete list does not contain does not exist any more.

    Raises:
        CloudError: the list of VMs could not be read.
    """
    collected = await collect_pages(
        lambda page: reader.get_virtual_machines_page(page, PAGE_SIZE, ""),
        lambda entry: parse_virtual_machine(entry.raw),
    )
    vms = {vm.id: _ListedVm(vm.id, vm.name, vm.status) for vm in collected.results}
    is_complete = not collected.unreadable_count
    return [
        _with_vm(snapshot, vms.get(snapshot.vm_id))
        if snapshot.vm_id is not None and (is_complete or snapshot.vm_id in vms)
        else snapshot
        for snapshot in snapshots
    ]


async def read_each(ids: Iterable[int], read: Callable[[int], Awaitable[T]]) -> dict[int, T]:
    """Return the result of `read` for each id, reading several at a time.

    Args:
        ids: the ids.
        read: reads one object; it raises nothing that the caller handles.
    """
    results: dict[int, T] = {}
    remaining = iter(ids)

    async def read_next() -> None:
        for number in remaining:
            results[number] = await read(number)

    async with anyio.create_task_group() as group:
        for _ in range(MAX_CONCURRENT_READS):
            group.start_soon(read_next)
    return results


def is_unknown(snapshot: Snapshot, field: str) -> bool:
    """Return whether a field of a snapshot is unknown. An empty name or status is unknown too."""
    if field == "custom_image":
        return not snapshot.image_is_known
    value = getattr(snapshot, field)
    return value is None or value == ""


async def _read_or_none(reader: CloudReader, snapshot_id: int) -> Snapshot | None:
    try:
        return await read_snapshot(reader, snapshot_id)
    except (CloudError, ProtocolError):
        return None


async def _read_regions(reader: CloudReader) -> dict[int, str]:
    try:
        return dict(await reader.get_regions())
    except (CloudError, ProtocolError):
        return {}


def _known_regions(snapshots: Iterable[Snapshot]) -> dict[int, str]:
    return {
        snapshot.region_id: snapshot.region
        for snapshot in snapshots
        if snapshot.region_id is not None and snapshot.region
    }


def _lacks(snapshots: Iterable[Snapshot], field: str) -> Iterable[bool]:
    return (is_unknown(snapshot, field) for snapshot in snapshots)


def _with_region(snapshot: Snapshot, regions: Mapping[int, str]) -> Snapshot:
    if snapshot.region is not None or snapshot.region_id not in regions:
        return snapshot
    return snapshot.model_copy(update={"region": regions[snapshot.region_id]})


def _with_vm(snapshot: Snapshot, vm: _ListedVm | None) -> Snapshot:
    found = {"vm_name": vm.name, "vm_status": vm.status} if vm else {"vm_status": _DELETED}
    update = {name: value for name, value in found.items() if value and is_unknown(snapshot, name)}
    return snapshot.model_copy(update=update) if update else snapshot


def _fill_in(listed: Snapshot, single: Snapshot | None, fields: Collection[str]) -> Snapshot:
    if single is None:
        return listed
    update = {
        name: getattr(single, name)
        for name in fields
        if is_unknown(listed, name) and not is_unknown(single, name)
    }
    return listed.model_copy(update=update)
