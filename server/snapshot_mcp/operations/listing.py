"""Lists: filtered and ordered here, because the API can only search by name and names no order.

Where the cloud's own order is seen to be the one asked for, a list without filters reads only what
it shows. Everything else reads all pages, and of most entries no more than the filter needs.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise

from snapshot_mcp.answers import (
    OF_A_SUMMARY,
    SnapshotList,
    SnapshotSummary,
    VirtualMachineList,
    VirtualMachineSummary,
)
from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.wire import (
    Entry,
    read_field,
    read_fields,
    read_snapshot,
    read_virtual_machine,
)
from snapshot_mcp.models import Snapshot, VirtualMachine, snapshot_state
from snapshot_mcp.operations.cursors import Position, Shown, position_of
from snapshot_mcp.operations.orders import Order, SnapshotFilter
from snapshot_mcp.operations.pages import PAGE_SIZE, Collected, Fetch, collect, pages_counted
from snapshot_mcp.rules.eligibility import snapshot_obstacle

FEW_PAGES = 5
"""So many pages are always read whole, so that the totals are exact."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


async def all_snapshots(reader: CloudReader, search: str = "") -> list[Snapshot]:
    """All snapshots whose name has `search` in it. Errors as in `pages.collect`."""
    collected = await collect(
        lambda page: reader.snapshots_page(page, PAGE_SIZE, search),
        lambda entry: read_snapshot(entry.raw),
    )
    return collected.kept


async def snapshots_of_vm(reader: CloudReader, vm_id: int | None) -> list[Snapshot]:
    """All snapshots of one VM. Errors as in `pages.collect`."""
    if vm_id is None:
        return []

    def keep(entry: Entry) -> Snapshot | None:
        return read_snapshot(entry.raw) if read_field(entry, "vm_id") == vm_id else None

    collected = await collect(lambda page: reader.snapshots_page(page, PAGE_SIZE, ""), keep)
    return collected.kept


async def list_snapshots(
    reader: CloudReader, wanted: SnapshotFilter, limit: int, cursor: str
) -> SnapshotList:
    """One page of the snapshots that pass `wanted`, with totals over all pages.

    Raises:
        RefusedError: the cursor is not of this list.
        CloudError: as in `pages.collect`.
    """
    after = position_of(cursor, wanted)
    fetched: dict[int, Page] = {}

    async def fetch(number: int) -> Page:
        if number not in fetched:
            return await reader.snapshots_page(number, PAGE_SIZE, wanted.search)
        return fetched.pop(number)

    if _is_unfiltered(wanted) and wanted.order == "newest":
        answer = await _from_the_top(fetch, fetched, wanted, limit, after)
        if answer is not None:
            return answer
    return await _from_all(fetch, wanted, limit, after)


async def _from_all(
    fetch: Fetch, wanted: SnapshotFilter, limit: int, after: Position | None
) -> SnapshotList:
    shown = Shown[Entry](limit, after)
    total_size = 0
    filters = not _is_unfiltered(wanted)

    def keep(entry: Entry) -> None:
        nonlocal total_size
        if not filters or _passes(entry, wanted):
            total_size += read_field(entry, "size") or 0
            shown.add(_position(entry, wanted.order), entry)

    collected: Collected[None] = await collect(fetch, keep)
    return _answer(shown, wanted, shown.count, total_size, collected.unreadable)


async def _from_the_top(
    fetch: Fetch,
    fetched: dict[int, Page],
    wanted: SnapshotFilter,
    limit: int,
    after: Position | None,
) -> SnapshotList | None:
    """The same from the first pages alone; None where they cannot be trusted to be the newest.

    Pages that were read in vain are left in `fetched`.
    """
    first = fetched[1] = await fetch(1)
    count = pages_counted(first)
    if count <= FEW_PAGES:
        return None
    last = fetched[count] = await fetch(count)
    if not _descend(first, last):
        return None
    shown = Shown[Entry](limit, after)
    collected = Collected[None](lambda entry: shown.add(_position(entry, "newest"), entry))
    page, number = first, 1
    while collected.take(page.entries) and not shown.is_full and number < count:
        number += 1
        following = await fetch(number)
        if not _descend(page, following):
            return None
        page = following
    return _answer(shown, wanted, first.total or 0, None, collected.unreadable)


def _descend(earlier: Page, later: Page) -> bool:
    """Whether the entries of two pages go from newer to older throughout, and tell their times."""
    entries = [*_readable(earlier), *_readable(later)]
    positions = [_position(entry, "newest") for entry in entries]
    return all(read_field(entry, "created_at") for entry in entries) and all(
        one < other for one, other in pairwise(positions)
    )


def _readable(page: Page) -> list[Entry]:
    collected = Collected(lambda entry: entry)
    collected.take(page.entries)
    return collected.kept


def _answer(
    shown: Shown[Entry],
    wanted: SnapshotFilter,
    total: int,
    total_size: int | None,
    unreadable: int,
) -> SnapshotList:
    summaries = (
        SnapshotSummary.told(it.id, **read_fields(it, OF_A_SUMMARY)) for it in shown.entries
    )
    return SnapshotList(
        snapshots=tuple(summaries),
        total=total,
        total_size=total_size,
        next_cursor=shown.cursor(wanted),
        unreadable=unreadable or None,
    )


async def find_virtual_machines(reader: CloudReader, search: str) -> Collected[VirtualMachine]:
    """All VMs whose name has `search` in it. Errors as in `pages.collect`."""
    return await collect(
        lambda page: reader.virtual_machines_page(page, PAGE_SIZE, search),
        lambda entry: read_virtual_machine(entry.raw),
    )


async def list_virtual_machines(
    find: Callable[[str], Awaitable[Collected[VirtualMachine]]],
    search: str,
    limit: int,
    cursor: str,
) -> VirtualMachineList:
    """One page of the VMs that `find` finds by `search`, oldest first.

    Raises:
        RefusedError: the cursor is not of this list.
        CloudError: as in `pages.collect`.
    """
    shown = Shown[VirtualMachine](limit, position_of(cursor, search))
    collected = await find(search)
    for vm in collected.kept:
        shown.add((vm.id, vm.id), vm)
    return VirtualMachineList(
        virtual_machines=tuple(
            VirtualMachineSummary.of(vm, snapshot_obstacle(vm)) for vm in shown.entries
        ),
        total=shown.count,
        next_cursor=shown.cursor(search),
        unreadable=collected.unreadable or None,
    )


def _is_unfiltered(wanted: SnapshotFilter) -> bool:
    """Whether whatever the cloud finds by name passes."""
    return wanted == SnapshotFilter(search=wanted.search, order=wanted.order)


def _passes(entry: Entry, wanted: SnapshotFilter) -> bool:
    # The filters that leave the fewest come first: what fails one is not read any further.
    if wanted.vm_id and read_field(entry, "vm_id") != wanted.vm_id:
        return False
    if wanted.state != "any" and wanted.state != snapshot_state(read_field(entry, "status")):
        return False
    if wanted.label and not _has_label(entry, wanted.label):
        return False
    return _was_taken_between(entry, wanted.created_after, wanted.created_before)


def _was_taken_between(entry: Entry, after: datetime | None, before: datetime | None) -> bool:
    if after is None and before is None:
        return True
    taken: datetime | None = read_field(entry, "created_at")
    return taken is not None and (after or taken) <= taken and (before is None or taken < before)


def _has_label(entry: Entry, label: str) -> bool:
    labels: tuple[str, ...] = read_field(entry, "labels") or ()
    return label.casefold() in (own.casefold() for own in labels)


def _position(entry: Entry, order: Order) -> Position:
    """Where a snapshot stands in `order`."""
    if order == "largest":
        return -(read_field(entry, "size") or 0), -entry.id
    created_at: datetime | None = read_field(entry, "created_at")
    taken = int(((created_at or _LONG_AGO) - _LONG_AGO).total_seconds() * 1_000)
    return (taken, entry.id) if order == "oldest" else (-taken, -entry.id)
