"""Lists: filtered and ordered here, because the API can only search by name and names no order.

Where the cloud's own order is seen to be the one asked for, a list without filters reads only what
it shows. Everything else reads all pages, and of most entries no more than the filter needs.
"""

from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise

from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.parsing import (
    RawEntry,
    build_field_parser,
    parse_fields,
    parse_snapshot,
    parse_virtual_machine,
)
from snapshot_mcp.models.cloud import Snapshot, VirtualMachine
from snapshot_mcp.models.snapshots import (
    SUMMARY_FIELDS,
    SnapshotList,
    VirtualMachineList,
    VirtualMachineSummary,
    summary_fields,
)
from snapshot_mcp.operations.cursors import PageBuilder, Position, position_of
from snapshot_mcp.operations.filters import conditions, position_in
from snapshot_mcp.operations.pagination import (
    PAGE_SIZE,
    Fetch,
    PageCollector,
    collect,
    pages_counted,
)
from snapshot_mcp.operations.requests import SnapshotFilter
from snapshot_mcp.rules.eligibility import snapshot_obstacle

MAX_SORTED_PAGES = 5
"""So many pages are always read whole, so that the totals are exact."""


async def all_snapshots(reader: CloudReader, search: str = "") -> list[Snapshot]:
    """All snapshots whose name has `search` in it. Errors as in `pages.collect`."""
    collected = await collect(
        lambda page: reader.get_snapshots_page(page, PAGE_SIZE, search),
        lambda entry: parse_snapshot(entry.raw),
    )
    return collected.kept


async def snapshots_of_vm(reader: CloudReader, vm_id: int | None) -> list[Snapshot]:
    """All snapshots of one VM. Errors as in `pages.collect`."""
    if vm_id is None:
        return []

    (is_of_vm,) = conditions(SnapshotFilter(vm_id=vm_id))

    def keep(entry: RawEntry) -> Snapshot | None:
        return parse_snapshot(entry.raw) if is_of_vm(entry) else None

    collected = await collect(lambda page: reader.get_snapshots_page(page, PAGE_SIZE, ""), keep)
    return collected.kept


def group_by_vm(snapshots: Iterable[Snapshot]) -> dict[int | None, list[Snapshot]]:
    """Return the snapshots by the id of their VM, in their order."""
    groups: dict[int | None, list[Snapshot]] = {}
    for snapshot in snapshots:
        groups.setdefault(snapshot.vm_id, []).append(snapshot)
    return groups


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
            return await reader.get_snapshots_page(number, PAGE_SIZE, wanted.search, SUMMARY_FIELDS)
        return fetched.pop(number)

    if wanted == SnapshotFilter(search=wanted.search):
        answer = await _from_the_top(fetch, fetched, wanted, limit, after)
        if answer is not None:
            return answer
    return await _from_all(fetch, wanted, limit, after)


async def _from_all(
    fetch: Fetch, wanted: SnapshotFilter, limit: int, after: Position | None
) -> SnapshotList:
    shown = PageBuilder[RawEntry](limit, after)
    total_size = 0
    size, position = build_field_parser("size"), position_in(wanted.order)
    wanted_conditions = tuple(conditions(wanted))

    def keep(entry: RawEntry) -> None:
        nonlocal total_size
        for passes in wanted_conditions:
            if not passes(entry):
                return
        total_size += size(entry) or 0
        shown.add(position(entry), entry)

    collected: PageCollector[None] = await collect(fetch, keep)
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
    if count <= MAX_SORTED_PAGES:
        return None
    last = fetched[count] = await fetch(count)
    if not _descend(first, last):
        return None
    shown, position = PageBuilder[RawEntry](limit, after), position_in("newest")
    collected = PageCollector[None](lambda entry: shown.add(position(entry), entry))
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
    taken, position = build_field_parser("created_at"), position_in("newest")
    return all(map(taken, entries)) and all(
        one < other for one, other in pairwise(map(position, entries))
    )


def _readable(page: Page) -> list[RawEntry]:
    collected = PageCollector(lambda entry: entry)
    collected.take(page.entries)
    return collected.kept


def _answer(
    shown: PageBuilder[RawEntry],
    wanted: SnapshotFilter,
    total: int,
    total_size: int | None,
    unreadable: int,
) -> SnapshotList:
    return SnapshotList.model_validate(
        {
            "snapshots": [
                summary_fields(it.id, parse_fields(it, SUMMARY_FIELDS)) for it in shown.entries
            ],
            "total": total,
            "total_size": total_size,
            "next_cursor": shown.cursor(wanted),
            "unreadable": unreadable or None,
        }
    )


async def find_virtual_machines(reader: CloudReader, search: str) -> PageCollector[VirtualMachine]:
    """All VMs whose name has `search` in it. Errors as in `pages.collect`."""
    return await collect(
        lambda page: reader.get_virtual_machines_page(page, PAGE_SIZE, search),
        lambda entry: parse_virtual_machine(entry.raw),
    )


async def list_virtual_machines(
    find: Callable[[str], Awaitable[PageCollector[VirtualMachine]]],
    search: str,
    limit: int,
    cursor: str,
) -> VirtualMachineList:
    """One page of the VMs that `find` finds by `search`, oldest first.

    Raises:
        RefusedError: the cursor is not of this list.
        CloudError: as in `pages.collect`.
    """
    shown = PageBuilder[VirtualMachine](limit, position_of(cursor, search))
    collected = await find(search)
    for vm in collected.kept:
        shown.add((vm.id, vm.id), vm)
    return VirtualMachineList(
        virtual_machines=tuple(
            VirtualMachineSummary.from_virtual_machine(vm, snapshot_obstacle(vm))
            for vm in shown.entries
        ),
        total=shown.count,
        next_cursor=shown.cursor(search),
        unreadable=collected.unreadable or None,
    )
