"""Lists of snapshots and VMs, filtered and sorted here: the API only searches by name.

A long list without filters reads only the pages that it needs, if the cloud returns the newest
snapshots first. Every other list reads all pages, but parses only the fields that the filter needs.
"""

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice, pairwise

from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.parsing import (
    RawEntry,
    build_field_parser,
    parse_fields,
    parse_snapshot,
    parse_virtual_machine,
)
from snapshot_mcp.core.errors import NotFoundError
from snapshot_mcp.models.cloud import Snapshot, VirtualMachine
from snapshot_mcp.models.snapshots import (
    SUMMARY_FIELDS,
    SnapshotList,
    VirtualMachineList,
    VirtualMachineSummary,
    summary_fields,
)
from snapshot_mcp.operations.cursors import PageBuilder, Position, parse_cursor
from snapshot_mcp.operations.filters import build_conditions, build_position_getter
from snapshot_mcp.operations.pagination import (
    PAGE_SIZE,
    FetchPage,
    PageCollector,
    collect_pages,
    count_pages,
)
from snapshot_mcp.operations.requests import SnapshotFilter
from snapshot_mcp.rules.eligibility import snapshot_doubt, snapshot_obstacle

MAX_STALE_COPIES = 20
"""Limit of copies that a list shows and that turn out not to be ready when they are read."""

MAX_PAGES_READ_COMPLETELY = 5
"""A list with at most this number of pages is always read completely, so its totals are exact."""


async def read_all_snapshots(
    reader: CloudReader, search: str = "", *, decides: bool = True
) -> list[Snapshot]:
    """Return all snapshots whose name contains `search`. Arguments and errors: `collect_pages`."""
    return (await collect_snapshots(reader, search, decides=decides)).results


async def collect_snapshots(
    reader: CloudReader, search: str = "", *, decides: bool = True
) -> PageCollector[Snapshot]:
    """Return all snapshots whose name contains `search`, and how many entries are unreadable.

    Arguments and errors: `collect_pages`.
    """
    return await collect_pages(
        lambda page: reader.get_snapshots_page(page, PAGE_SIZE, search),
        lambda: lambda entry: parse_snapshot(entry.raw),
        decides=decides,
        counts_all=not search,
    )


async def read_snapshots_of_vm(
    reader: CloudReader, vm_id: int | None, *, decides: bool = True
) -> list[Snapshot]:
    """Return all snapshots of one VM. Arguments and errors: `collect_pages`."""
    return (await collect_snapshots_of_vm(reader, vm_id, decides=decides)).results


async def collect_snapshots_of_vm(
    reader: CloudReader, vm_id: int | None, *, decides: bool = True
) -> PageCollector[Snapshot]:
    """Return all snapshots of one VM, and how many entries of the whole list are unreadable.

    Arguments and errors: `collect_pages`.
    """
    if vm_id is None:
        return PageCollector[Snapshot](lambda _: None)
    (has_vm,) = build_conditions(SnapshotFilter(vm_id=vm_id))
    return await collect_pages(
        lambda page: reader.get_snapshots_page(page, PAGE_SIZE, ""),
        lambda: lambda entry: parse_snapshot(entry.raw) if has_vm(entry) else None,
        decides=decides,
    )


async def read_copies(
    reader: CloudReader, listed: Iterable[Snapshot], needed: int
) -> list[Snapshot]:
    """Read single snapshots until enough of them are ready, and return those.

    A list may be stale, and reading a long one takes a while. A deletion depends only on copies
    that were read one by one.

    Args:
        reader: the reading half of the cloud client.
        listed: the copies as a list shows them, the preferred ones first.
        needed: the number of ready ones to find.
    """
    copies: list[Snapshot] = []
    for listed_copy in islice(listed, needed + MAX_STALE_COPIES):
        if len(copies) >= needed:
            break
        try:
            copy = await reader.get_snapshot(listed_copy.id)
        except NotFoundError:
            continue
        if copy.is_copy and copy.vm_id == listed_copy.vm_id:
            copies.append(copy)
    return copies


def group_by_vm(snapshots: Iterable[Snapshot]) -> dict[int | None, list[Snapshot]]:
    """Return the snapshots by the id of their VM, in their order."""
    groups: dict[int | None, list[Snapshot]] = {}
    for snapshot in snapshots:
        groups.setdefault(snapshot.vm_id, []).append(snapshot)
    return groups


async def list_snapshots(
    reader: CloudReader, snapshot_filter: SnapshotFilter, limit: int, cursor: str
) -> SnapshotList:
    """Return one page of the snapshots that pass the filter, with totals over all pages.

    Raises:
        RefusedError: the cursor belongs to another list.
        CloudError: as `collect_pages`.
    """
    after = parse_cursor(cursor, snapshot_filter)
    fetched: dict[int, Page] = {}

    async def fetch(number: int) -> Page:
        if number not in fetched:
            return await reader.get_snapshots_page(
                number, PAGE_SIZE, snapshot_filter.search, SUMMARY_FIELDS
            )
        return fetched.pop(number)

    if snapshot_filter == SnapshotFilter(search=snapshot_filter.search):
        result = await _list_from_first_pages(fetch, fetched, snapshot_filter, limit, after)
        if result is not None:
            return result
    return await _list_from_all_pages(fetch, snapshot_filter, limit, after)


async def _list_from_all_pages(
    fetch: FetchPage, snapshot_filter: SnapshotFilter, limit: int, after: Position | None
) -> SnapshotList:
    page, total_size = PageBuilder[RawEntry](limit, after), 0
    size, position = build_field_parser("size"), build_position_getter(snapshot_filter.order)
    conditions = tuple(build_conditions(snapshot_filter))

    def start() -> Callable[[RawEntry], None]:
        nonlocal page, total_size
        page, total_size = PageBuilder[RawEntry](limit, after), 0
        return add

    def add(entry: RawEntry) -> None:
        nonlocal total_size
        for passes in conditions:
            if not passes(entry):
                return
        total_size += size(entry) or 0
        page.add(position(entry), entry)

    collected: PageCollector[None] = await collect_pages(fetch, start)
    return _build_list(page, snapshot_filter, page.count, total_size, collected.unreadable_count)


async def _list_from_first_pages(
    fetch: FetchPage,
    fetched: dict[int, Page],
    snapshot_filter: SnapshotFilter,
    limit: int,
    after: Position | None,
) -> SnapshotList | None:
    """Return the list from its first pages; None if all pages must be read.

    All must be read if there are few, if the cloud does not return the newest snapshots first, or
    if the list changes meanwhile. The total is the cloud's count.
    The first and the last page stay in `fetched`, so they are not fetched again.
    """
    first = fetched[1] = await fetch(1)
    count = count_pages(first)
    if count <= MAX_PAGES_READ_COMPLETELY:
        return None
    last = fetched[count] = await fetch(count)
    if last.total != first.total or not _is_newest_first(first, last):
        return None
    page, position = PageBuilder[RawEntry](limit, after), build_position_getter("newest")
    collected = PageCollector[None](lambda entry: page.add(position(entry), entry))
    current, number = first, 1
    while collected.add_page(current.entries) and not page.is_full and number < count:
        number += 1
        following = await fetch(number)
        if following.total != first.total or not _is_newest_first(current, following):
            return None
        current = following
    return _build_list(page, snapshot_filter, first.total or 0, None, collected.unreadable_count)


def _is_newest_first(earlier: Page, later: Page) -> bool:
    """Return whether all entries of two pages have a time and go from newer to older."""
    entries = [*_parse_entries(earlier), *_parse_entries(later)]
    created_at, position = build_field_parser("created_at"), build_position_getter("newest")
    return all(map(created_at, entries)) and all(
        before < after for before, after in pairwise(map(position, entries))
    )


def _parse_entries(page: Page) -> list[RawEntry]:
    collected = PageCollector(lambda entry: entry)
    collected.add_page(page.entries)
    return collected.results


def _build_list(
    page: PageBuilder[RawEntry],
    snapshot_filter: SnapshotFilter,
    total: int,
    total_size: int | None,
    unreadable_count: int,
) -> SnapshotList:
    return SnapshotList.model_validate(
        {
            "snapshots": [
                summary_fields(entry.id, parse_fields(entry, SUMMARY_FIELDS))
                for entry in page.entries
            ],
            "total": total,
            "total_size": total_size,
            "next_cursor": page.next_cursor(snapshot_filter),
            "unreadable": unreadable_count or None,
        }
    )


async def find_virtual_machines(
    reader: CloudReader, search: str, *, decides: bool = True
) -> PageCollector[VirtualMachine]:
    """Return all VMs whose name contains `search`. Arguments and errors: `collect_pages`."""
    return await collect_pages(
        lambda page: reader.get_virtual_machines_page(page, PAGE_SIZE, search),
        lambda: lambda entry: parse_virtual_machine(entry.raw),
        decides=decides,
        counts_all=not search,
    )


async def list_virtual_machines(
    find: Callable[[str], Awaitable[PageCollector[VirtualMachine]]],
    search: str,
    limit: int,
    cursor: str,
) -> VirtualMachineList:
    """Return one page of the VMs that `find` returns for `search`, oldest first.

    Raises:
        RefusedError: the cursor belongs to another list.
        CloudError: as `collect_pages`.
    """
    page = PageBuilder[VirtualMachine](limit, parse_cursor(cursor, search))
    collected = await find(search)
    for vm in collected.results:
        page.add((vm.id, vm.id), vm)
    return VirtualMachineList(
        virtual_machines=tuple(
            VirtualMachineSummary.from_virtual_machine(
                vm, snapshot_obstacle(vm), snapshot_doubt(vm)
            )
            for vm in page.entries
        ),
        total=page.count,
        next_cursor=page.next_cursor(search),
        unreadable=collected.unreadable_count or None,
    )
