"""Lists: all pages of the cloud, filtered and ordered here, cut into pages of ours.

The API can only search by name and says nothing about its order, so what a list shows is decided
here. A cursor names the last entry shown, not a position: it stays right while rows come and go.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar, cast

import anyio
from pydantic_core import from_json, to_json

from snapshot_mcp.answers import (
    SnapshotList,
    SnapshotSummary,
    VirtualMachineList,
    VirtualMachineSummary,
)
from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.wire import read_snapshot, read_virtual_machine
from snapshot_mcp.errors import ProtocolError, RefusedError, Unavailable
from snapshot_mcp.models import Snapshot, VirtualMachine
from snapshot_mcp.operations.orders import Order, SnapshotFilter
from snapshot_mcp.rules.eligibility import snapshot_obstacle

T = TypeVar("T", Snapshot, VirtualMachine)
Position = tuple[int, int]

PAGE_SIZE = 100
MOST_PAGES = 1_000
LONGEST_LISTING_SECONDS = 120
_LONGEST_CURSOR = 200
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Collected(NamedTuple):
    """Everything that a list of the cloud holds, and how many entries could not be read."""

    snapshots: list[Snapshot]
    unreadable: int


async def all_snapshots(reader: CloudReader, search: str = "") -> Collected:
    """All snapshots whose name has `search` in it.

    Raises:
        CloudError: a page could not be had; a part of a list is never taken for the whole.
        ProtocolError: the pages do not end.
    """
    found, unreadable = await _collect(
        lambda page: reader.snapshots_page(page, PAGE_SIZE, search), read_snapshot
    )
    return Collected(found, unreadable)


async def snapshots_of_vm(reader: CloudReader, vm_id: int | None) -> list[Snapshot]:
    """All snapshots of one VM. Errors as in `all_snapshots`."""
    if vm_id is None:
        return []
    return [found for found in (await all_snapshots(reader)).snapshots if found.vm_id == vm_id]


async def list_snapshots(
    reader: CloudReader, wanted: SnapshotFilter, limit: int, cursor: str
) -> SnapshotList:
    """One page of the snapshots that pass `wanted`, with totals over all pages.

    Raises:
        RefusedError: the cursor is not of this list.
        CloudError: as in `all_snapshots`.
    """
    after = _position(cursor, wanted)
    collected = await all_snapshots(reader, wanted.search)
    matching = sorted(
        (snapshot for snapshot in collected.snapshots if _passes(snapshot, wanted)),
        key=lambda snapshot: _snapshot_position(snapshot, wanted.order),
    )
    page, next_cursor = _cut(
        matching, lambda snapshot: _snapshot_position(snapshot, wanted.order), after, limit, wanted
    )
    return SnapshotList(
        snapshots=tuple(map(SnapshotSummary.of, page)),
        total=len(matching),
        total_size=sum(snapshot.size or 0 for snapshot in matching),
        next_cursor=next_cursor,
        unreadable=collected.unreadable or None,
    )


async def find_virtual_machines(
    reader: CloudReader, search: str
) -> tuple[list[VirtualMachine], int]:
    """All VMs whose name has `search` in it, and how many entries could not be read."""
    return await _collect(
        lambda page: reader.virtual_machines_page(page, PAGE_SIZE, search), read_virtual_machine
    )


async def list_virtual_machines(
    reader: CloudReader, search: str, limit: int, cursor: str
) -> VirtualMachineList:
    """One page of the VMs whose name has `search` in it, oldest first. Errors as above."""
    after = _position(cursor, search)
    found, unreadable = await find_virtual_machines(reader, search)
    found.sort(key=lambda vm: vm.id)
    page, next_cursor = _cut(found, lambda vm: (vm.id, vm.id), after, limit, search)
    return VirtualMachineList(
        virtual_machines=tuple(VirtualMachineSummary.of(vm, snapshot_obstacle(vm)) for vm in page),
        total=len(found),
        next_cursor=next_cursor,
        unreadable=unreadable or None,
    )


async def _collect(
    fetch: Callable[[int], Awaitable[Page]], read: Callable[[object], T]
) -> tuple[list[T], int]:
    try:
        with anyio.fail_after(LONGEST_LISTING_SECONDS):
            return await _collect_pages(fetch, read)
    except TimeoutError as error:
        raise Unavailable(
            f"The cloud did not give its whole list within {LONGEST_LISTING_SECONDS} s.",
            "Nothing was changed. Search for a part of the name to shorten it.",
        ) from error


async def _collect_pages(
    fetch: Callable[[int], Awaitable[Page]], read: Callable[[object], T]
) -> tuple[list[T], int]:
    found: dict[int, T] = {}
    unreadable = 0
    previous: list[object] = []
    for number in range(1, MOST_PAGES + 1):
        page = await fetch(number)
        # What cannot be read has no id, so only the page as a whole tells a repetition.
        repeats = bool(page.entries) and page.entries == previous
        previous = page.entries
        seen_before = len(found) + unreadable
        for entry in [] if repeats else page.entries:
            try:
                thing = read(entry)
            except ProtocolError:
                unreadable += 1
            else:
                found[thing.id] = thing
        seen = len(found) + unreadable
        if seen == seen_before and repeats and seen < (page.total or 0):
            raise ProtocolError(
                f"The cloud counts {page.total} entries but repeats the first {seen}.",
                "Nothing was changed. Search for a part of the name to shorten the list.",
            )
        # A count may be of one page only, so a full page is followed whatever it says; and a
        # server with a smaller page size than asked for sends short pages all along.
        counted_out = page.total is not None and seen >= page.total
        if seen == seen_before or (counted_out and len(page.entries) < PAGE_SIZE):
            return list(found.values()), unreadable
    raise ProtocolError(
        f"The cloud's list does not end after {MOST_PAGES * PAGE_SIZE} entries.",
        "Nothing was changed. Search for a part of the name to shorten it.",
    )


def _passes(snapshot: Snapshot, wanted: SnapshotFilter) -> bool:
    taken = snapshot.created_at
    return (
        (wanted.state in ("any", snapshot.state))
        and (not wanted.vm_id or snapshot.vm_id == wanted.vm_id)
        and (not wanted.label or _has_label(snapshot, wanted.label))
        and (wanted.created_after is None or (taken is not None and taken >= wanted.created_after))
        and (wanted.created_before is None or (taken is not None and taken < wanted.created_before))
    )


def _has_label(snapshot: Snapshot, label: str) -> bool:
    return label.casefold() in (own.casefold() for own in snapshot.labels)


def _snapshot_position(snapshot: Snapshot, order: Order) -> Position:
    """Where a snapshot stands in `order`; positions ascend along the list."""
    if order == "largest":
        return -(snapshot.size or 0), -snapshot.id
    taken = int(((snapshot.created_at or _LONG_AGO) - _LONG_AGO).total_seconds() * 1_000)
    return (taken, snapshot.id) if order == "oldest" else (-taken, -snapshot.id)


def _cut(
    ordered: Sequence[T],
    position: Callable[[T], Position],
    after: Position | None,
    limit: int,
    belongs_to: object,
) -> tuple[Sequence[T], str]:
    rest = ordered if after is None else [it for it in ordered if position(it) > after]
    page = rest[:limit]
    more = len(rest) > limit
    return page, _cursor(position(page[-1]), belongs_to) if more else ""


def _fingerprint(belongs_to: object) -> int:
    return binascii.crc32(to_json(belongs_to))


def _cursor(position: Position, belongs_to: object) -> str:
    return base64.urlsafe_b64encode(to_json([*position, _fingerprint(belongs_to)])).decode()


def _position(cursor: str, belongs_to: object) -> Position | None:
    if not cursor:
        return None
    try:
        values: object = from_json(base64.urlsafe_b64decode(cursor[:_LONGEST_CURSOR].encode()))
    except ValueError:
        values = None
    if _are_three_integers(values):
        first, second, fingerprint = cast("list[int]", values)
        if fingerprint == _fingerprint(belongs_to):
            return first, second
    raise RefusedError(
        "The cursor is not one of this list.",
        "Use next_cursor as it came, with the same filters, or leave it out to start again.",
    )


def _are_three_integers(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(entries := cast("list[object]", values)) == 3  # noqa: PLR2004 - two of the position, one fingerprint
        and _all_integers(entries)
    )


def _all_integers(values: Iterable[object]) -> bool:
    return all(type(value) is int for value in values)
