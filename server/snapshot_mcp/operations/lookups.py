"""Look up facts about snapshots that the cloud's replies omit.

A list may contain less than the reply about a single snapshot: no region, VM name, VM status or
image. A fact that cannot be looked up stays unknown; it is never taken as a shared or empty value.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.parsing import parse_virtual_machine
from snapshot_mcp.core.errors import CloudError, NotFoundError, ProtocolError, SnapshotMcpError
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.operations.pagination import PAGE_SIZE, collect_pages

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
    if snapshot.vm_id is None or not any(snapshot.is_unknown(name) for name in _VM_FIELDS):
        return snapshot
    try:
        vm = await reader.get_virtual_machine(snapshot.vm_id)
    except NotFoundError:
        return _with_vm(snapshot, None)
    except (CloudError, ProtocolError):
        return snapshot
    return _with_vm(snapshot, _ListedVm(vm.id, vm.name, vm.status))


async def complete_list(
    reader: CloudReader,
    snapshots: Sequence[Snapshot],
    fields: Collection[str],
    max_single_reads: int | None = None,
) -> list[Snapshot]:
    """Return the snapshots of a list with `fields` looked up where the list omits them.

    Regions and VMs are looked up in their lists. What is still unknown is read from the single
    snapshots, the oldest first; the others stay as they are.

    Args:
        reader: the reading half of the cloud client.
        snapshots: the snapshots as the list shows them.
        fields: the fields to look up.
        max_single_reads: maximum number of single snapshots to read; None for the usual one.

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
        snapshot.id for name in fields for snapshot in completed if snapshot.is_unknown(name)
    }
    limit = MAX_SINGLE_READS if max_single_reads is None else max_single_reads
    singles = await read_singles(reader, sorted(incomplete)[:limit])
    return [
        _fill_in(snapshot, single, fields)
        if isinstance(single := singles.get(snapshot.id), Snapshot)
        else snapshot
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
        lambda: lambda entry: parse_virtual_machine(entry.raw),
        decides=True,
    )
    vms = {vm.id: _ListedVm(vm.id, vm.name, vm.status) for vm in collected.results}
    is_complete = not collected.unreadable_count
    return [
        _with_vm(snapshot, vms.get(snapshot.vm_id))
        if snapshot.vm_id is not None and (is_complete or snapshot.vm_id in vms)
        else snapshot
        for snapshot in snapshots
    ]


async def read_singles(
    reader: CloudReader, ids: Sequence[int]
) -> dict[int, Snapshot | SnapshotMcpError]:
    """Read snapshots one by one, several at a time; return each, or why it could not be read."""
    results: dict[int, Snapshot | SnapshotMcpError] = {}
    remaining = iter(ids)

    async def read_next() -> None:
        for snapshot_id in remaining:
            try:
                results[snapshot_id] = await read_snapshot(reader, snapshot_id)
            except SnapshotMcpError as error:
                results[snapshot_id] = error

    async with anyio.create_task_group() as group:
        for _ in range(min(MAX_CONCURRENT_READS, len(ids))):
            group.start_soon(read_next)
    return results


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
    return (snapshot.is_unknown(field) for snapshot in snapshots)


def _with_region(snapshot: Snapshot, regions: Mapping[int, str]) -> Snapshot:
    region = None if snapshot.region_id is None else regions.get(snapshot.region_id)
    if snapshot.region is not None or region is None:
        return snapshot
    return snapshot.model_copy(update={"region": region})


def _with_vm(snapshot: Snapshot, vm: _ListedVm | None) -> Snapshot:
    found = {"vm_name": vm.name, "vm_status": vm.status} if vm else {"vm_status": _DELETED}
    update = {name: value for name, value in found.items() if value and snapshot.is_unknown(name)}
    return snapshot.model_copy(update=update) if update else snapshot


def _fill_in(listed: Snapshot, single: Snapshot, fields: Collection[str]) -> Snapshot:
    update = {
        name: getattr(single, name)
        for name in fields
        if listed.is_unknown(name) and not single.is_unknown(name)
    }
    return listed.model_copy(update=update)
