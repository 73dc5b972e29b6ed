"""Lists return every entry once for any page sizes, and cursors survive changes."""

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.core.errors import ProtocolError, RefusedError, UnavailableError
from snapshot_mcp.models.cloud import VirtualMachine
from snapshot_mcp.models.snapshots import SnapshotList
from snapshot_mcp.operations import pagination as pages
from snapshot_mcp.operations.listing import (
    find_virtual_machines,
    list_snapshots,
    list_virtual_machines,
    read_all_snapshots,
    read_snapshots_of_vm,
)
from snapshot_mcp.operations.requests import SnapshotFilter, SortOrder
from tests.conftest import open_api_client
from tests.waiting import ANSWER_TIMEOUT_SECONDS

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
UNREADABLE: dict[str, object] = {"name": "no id"}

Entry = dict[str, object]
Cut = Callable[[int, int], tuple[Sequence[Entry], int | str | None]]


@asynccontextmanager
async def reader_of(cut: Cut) -> AsyncGenerator[CloudReader]:
    """Return a reader of a cloud that answers a page and a size with entries and a total."""

    def handler(request: httpx.Request) -> httpx.Response:
        query = request.url.params
        entries, count = cut(int(query["page"]), int(query["pageSize"]))
        body = {"status": True, "snapshots": entries, "instances": entries, "count": count}
        return httpx.Response(200, json=body)

    transport = httpx.MockTransport(handler)
    async with open_api_client(transport) as api:
        yield CloudReader(api)


def finder(reader: CloudReader) -> Callable[[str], Awaitable[pages.PageCollector[VirtualMachine]]]:
    return partial(find_virtual_machines, reader)


@dataclass
class Cloud:
    """A cloud whose rows may change between two calls."""

    rows: Sequence[Entry]
    page_size: int = 1_000

    def cut(self, page: int, page_size: int) -> tuple[Sequence[Entry], int]:
        size = min(page_size, self.page_size)
        return self.rows[(page - 1) * size : page * size], len(self.rows)


def snapshot(number: int, **fields: object) -> Entry:
    taken = NOW + timedelta(hours=number)
    return {"id": number, "name": f"s{number}", "created_at": taken.isoformat(), **fields}


def collect(cut: Cut) -> tuple[list[int], int]:
    """Return the ids on all pages, and the number of unreadable entries."""

    async def run() -> tuple[list[int], int]:
        async with reader_of(cut) as reader:
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                found = await pages.collect_pages(
                    lambda page: reader.get_snapshots_page(page, pages.PAGE_SIZE, ""),
                    lambda: lambda entry: entry.id,
                )
        return sorted(found.results), found.unreadable_count

    return anyio.run(run)


def split_into_pages(
    rows: Sequence[Entry], sizes: Sequence[int], overlap: int
) -> list[list[Entry]]:
    """Split `rows` into pages of `sizes` in turn; each repeats the end of the previous page."""
    pages: list[list[Entry]] = []
    start = 0
    while start < len(rows):
        size = sizes[len(pages) % len(sizes)]
        pages.append(list(rows[max(0, start - overlap) : start + size]))
        start += size
    return pages


@given(
    st.permutations(range(1, 16)),
    st.integers(0, 15),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.integers(0, 3),
    st.sampled_from(["number", "text", "none"]),
    st.booleans(),
)
def test_every_entry_is_returned_once_for_any_page_sizes(
    numbers: list[int],
    length: int,
    sizes: list[int],
    overlap: int,
    count: str,
    repeats_last: bool,  # noqa: FBT001 - as above
) -> None:
    rows = [snapshot(number) for number in numbers[:length]]
    pages = split_into_pages(rows, sizes, overlap)
    total = {"number": len(rows), "text": str(len(rows)), "none": None}[count]

    def cut(page: int, _size: int) -> tuple[Sequence[Entry], int | str | None]:
        if page <= len(pages):
            return pages[page - 1], total
        return (pages[-1] if repeats_last and pages else []), total

    found, unreadable = collect(cut)
    assert sorted(found) == sorted(numbers[:length])
    assert unreadable == 0


@pytest.mark.parametrize("total", [3, None])
def test_a_page_that_repeats_some_entries_does_not_hide_later_pages(total: int | None) -> None:
    pages = [[snapshot(1), snapshot(2)], [snapshot(2), snapshot(3)], [snapshot(3), snapshot(4)]]

    def cut(page: int, _size: int) -> tuple[Sequence[Entry], int | None]:
        return (pages[page - 1] if page <= 3 else []), total and 4

    assert collect(cut) == ([1, 2, 3, 4], 0)


@pytest.mark.parametrize("count", [5, None])
def test_a_cloud_that_ignores_the_page_number_does_not_cause_extra_requests(
    count: int | None,
) -> None:
    rows = [snapshot(number) for number in range(1, 6)]
    requests: list[int] = []

    def cut(page: int, _size: int) -> tuple[Sequence[Entry], int | None]:
        requests.append(page)
        return rows, count

    assert collect(cut) == ([1, 2, 3, 4, 5], 0)
    assert len(requests) <= 2


def test_a_cloud_that_ignores_the_page_number_and_has_an_unreadable_entry_does_not_loop() -> None:
    rows = [snapshot(1), UNREADABLE, snapshot(2)]
    assert collect(lambda _page, _size: (rows, None)) == ([1, 2], 1)


def test_a_list_with_fewer_entries_than_its_total_is_an_error() -> None:
    rows = [snapshot(number) for number in range(1, 6)]
    with pytest.raises(ProtocolError, match="counts 250 entries"):
        collect(lambda _page, _size: (rows, 250))


def test_a_total_of_one_page_does_not_end_a_list_of_full_pages() -> None:
    rows = [snapshot(number) for number in range(1, 251)]

    def cut(page: int, size: int) -> tuple[Sequence[Entry], int]:
        entries = rows[(page - 1) * size : page * size]
        return entries, len(entries)

    assert collect(cut) == (list(range(1, 251)), 0)


async def test_a_list_that_takes_too_long_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LISTING_TIMEOUT_SECONDS", 0)

    async def handler(request: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        return httpx.Response(200, json={"snapshots": [snapshot(int(request.url.params["page"]))]})

    transport = httpx.MockTransport(handler)
    async with open_api_client(transport) as api:
        with pytest.raises(UnavailableError, match="whole list within"):
            await read_all_snapshots(CloudReader(api))


def test_an_empty_list_is_empty() -> None:
    for count in (0, None):
        assert collect(lambda _page, _size, count=count: ([], count)) == ([], 0)


def test_unreadable_entries_are_counted_separately() -> None:
    rows = [snapshot(1), UNREADABLE, snapshot(2), UNREADABLE, snapshot(3)]
    for size in (1_000, 3):
        assert collect(Cloud(rows, size).cut) == ([1, 2, 3], 2)


def test_a_page_of_nothing_but_unreadable_entries_is_not_the_end() -> None:
    rows = [snapshot(1), snapshot(2), UNREADABLE, {**UNREADABLE, "size": 4}, snapshot(3)]
    found, unreadable = collect(Cloud(rows, 2).cut)
    assert found == [1, 2, 3]
    assert unreadable == 2


def test_pages_are_requested_with_the_largest_safe_size() -> None:
    requests: list[tuple[int, int]] = []

    def cut(page: int, size: int) -> tuple[Sequence[Entry], None]:
        requests.append((page, size))
        return ([snapshot(page)] if page < 3 else []), None

    collect(cut)
    assert requests == [(1, pages.PAGE_SIZE), (2, pages.PAGE_SIZE), (3, pages.PAGE_SIZE)]


def test_a_list_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 5)
    requests: list[int] = []

    def cut(page: int, _size: int) -> tuple[Sequence[Entry], None]:
        requests.append(page)
        return [snapshot(page)], None

    with pytest.raises(ProtocolError, match="does not end"):
        collect(cut)
    assert requests == [1, 2, 3, 4, 5]


async def test_a_partial_list_is_never_returned_as_the_whole() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.params["page"] == "2":
            return httpx.Response(503)
        return httpx.Response(200, json={"snapshots": [snapshot(1)], "count": 2})

    transport = httpx.MockTransport(handler)
    async with open_api_client(transport) as api:
        with pytest.raises(UnavailableError):
            await read_all_snapshots(CloudReader(api))


async def test_the_snapshots_of_a_vm_are_selected_by_its_id() -> None:
    rows = [snapshot(1, vm_id=5), snapshot(2, vm_id=6), snapshot(3), snapshot(4, vm_id="5")]
    async with reader_of(Cloud(rows, 2).cut) as reader:
        assert [row.id for row in await read_snapshots_of_vm(reader, 5)] == [1, 4]
        assert await read_snapshots_of_vm(reader, 7) == []
        assert await read_snapshots_of_vm(reader, None) == []


async def test_vms_are_found_across_pages() -> None:
    rows: list[Entry] = [{"id": number, "name": f"vm{number}"} for number in range(1, 8)]
    async with reader_of(Cloud([*rows, UNREADABLE], 3).cut) as reader:
        found = await find_virtual_machines(reader, "vm")
    assert ([result.id for result in found.results], found.unreadable_count) == (
        [1, 2, 3, 4, 5, 6, 7],
        1,
    )


MIXED = [
    snapshot(1, status="SUCCESS", vm_id=5, size=40, labels=["Prod", "db"]),
    snapshot(2, status="CREATING", vm_id=5, size=0, labels=["prod"]),
    snapshot(3, status="ERROR", vm_id=6, size=None, labels=["production"]),
    snapshot(4, status="THAWING", vm_id=6, size=7),
    snapshot(5, status="SUCCESS", size=7, created_at=None),
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (SnapshotFilter(), [4, 3, 2, 1, 5]),
        (SnapshotFilter(order="oldest"), [1, 2, 3, 4, 5]),
        (SnapshotFilter(order="largest"), [1, 5, 4, 3, 2]),
        (SnapshotFilter(state="ready"), [1, 5]),
        (SnapshotFilter(state="pending"), [2]),
        (SnapshotFilter(state="failed"), [3]),
        (SnapshotFilter(state="unknown"), [4]),
        (SnapshotFilter(vm_id=5), [2, 1]),
        (SnapshotFilter(label="PROD"), [2, 1]),
        (SnapshotFilter(label="pro"), []),
        (SnapshotFilter(created_after=NOW + timedelta(hours=3)), [4, 3]),
        (SnapshotFilter(created_before=NOW + timedelta(hours=3)), [2, 1]),
        (SnapshotFilter(vm_id=5, state="ready", label="db"), [1]),
        (SnapshotFilter(vm_id=6, state="ready"), []),
    ],
)
async def test_a_list_shows_matching_entries_in_the_requested_order(
    wanted: SnapshotFilter, ids: list[int]
) -> None:
    async with reader_of(Cloud([*MIXED, UNREADABLE], 2).cut) as reader:
        answer = await list_snapshots(reader, wanted, 100, "")
    assert [snapshot.id for snapshot in answer.snapshots] == ids
    assert answer.total == len(ids)
    sizes = {1: 40, 4: 7, 5: 7}
    assert answer.total_size == sum(sizes.get(number, 0) for number in ids)
    assert answer.next_cursor == ""
    assert answer.unreadable == 1


async def test_vms_are_listed_oldest_first_with_the_obstacle_to_a_snapshot() -> None:
    rows: list[Entry] = [
        {
            "id": 9,
            "name": "b",
            "status": "SHUTOFF",
            "cluster_id": None,
            "volume_attachments": [],
            "flavor": {"features": {"no_snapshot": False}},
        },
        {"id": 3, "name": "a", "status": "BUILD"},
    ]
    async with reader_of(Cloud(rows).cut) as reader:
        first = await list_virtual_machines(finder(reader), "", 1, "")
        second = await list_virtual_machines(finder(reader), "", 1, first.next_cursor)
    assert [vm.id for vm in (*first.virtual_machines, *second.virtual_machines)] == [3, 9]
    assert [vm.can_snapshot for vm in (*first.virtual_machines, *second.virtual_machines)] == [
        False,
        True,
    ]
    assert (first.total, second.total, second.next_cursor, first.unreadable) == (2, 2, "", None)


async def walk(
    reader: CloudReader, wanted: SnapshotFilter, limit: int, between: Callable[[], None]
) -> list[SnapshotList]:
    pages: list[SnapshotList] = []
    cursor = ""
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while not pages or cursor:
            pages.append(await list_snapshots(reader, wanted, limit, cursor))
            cursor = pages[-1].next_cursor
            between()
    return pages


orders = st.sampled_from(["newest", "oldest", "largest"])
many_rows = st.lists(
    st.builds(
        snapshot,
        st.integers(1, 60),
        size=st.sampled_from([None, 0, 1, 1, 40]),
        created_at=st.none() | st.integers(0, 3).map(lambda n: (NOW + timedelta(n)).isoformat()),
    ),
    max_size=20,
    unique_by=lambda snapshot: cast("int", snapshot["id"]),
)


@given(many_rows, orders, st.integers(1, 6))
def test_the_pages_of_a_list_join_to_the_whole_list_in_order(
    rows: list[Entry], order: SortOrder, limit: int
) -> None:
    async def run() -> None:
        wanted = SnapshotFilter(order=order)
        async with reader_of(Cloud(rows).cut) as reader:
            everything = await list_snapshots(reader, wanted, 100, "")
            pages = await walk(reader, wanted, limit, lambda: None)
        walked = [snapshot for page in pages for snapshot in page.snapshots]
        assert walked == list(everything.snapshots)
        assert all(page.total == len(rows) for page in pages)
        assert all(len(page.snapshots) == limit for page in pages[:-1])
        assert all(len(page.next_cursor) <= 200 for page in pages)

    anyio.run(run)


@given(many_rows, many_rows, orders, st.integers(1, 5), st.data())
def test_a_list_that_changes_between_pages_repeats_and_loses_no_entry(
    rows: list[Entry], more: list[Entry], order: SortOrder, limit: int, data: st.DataObject
) -> None:
    ids = {row["id"] for row in rows}
    present, coming = rows.copy(), [row for row in more if row["id"] not in ids]
    cloud, stayed = Cloud(present), set(ids)

    def change() -> None:
        if present and data.draw(st.booleans()):
            gone = present.pop(data.draw(st.integers(0, len(present) - 1)))
            stayed.discard(gone["id"])
        if coming and data.draw(st.booleans()):
            present.insert(0, coming.pop())

    async def run() -> list[int]:
        async with reader_of(cloud.cut) as reader:
            pages = await walk(reader, SnapshotFilter(order=order), limit, change)
        return [snapshot.id for page in pages for snapshot in page.snapshots]

    shown = anyio.run(run)
    assert len(shown) == len(set(shown))
    assert stayed <= set(shown)


async def test_entries_with_the_same_time_are_split_between_pages_without_loss() -> None:
    rows = [snapshot(number, created_at=NOW.isoformat(), size=1) for number in range(1, 8)]
    async with reader_of(Cloud(rows).cut) as reader:
        for order in ("newest", "oldest", "largest"):
            pages = await walk(reader, SnapshotFilter(order=order), 2, lambda: None)
            walked = [row.id for page in pages for row in page.snapshots]
            assert sorted(walked) == [1, 2, 3, 4, 5, 6, 7]
            assert all((a < b) == (order == "oldest") for a, b in pairwise(walked))


async def test_a_cursor_stays_valid_after_its_entry_was_deleted() -> None:
    cloud = Cloud([snapshot(number) for number in range(1, 6)])
    async with reader_of(cloud.cut) as reader:
        first = await list_snapshots(reader, SnapshotFilter(), 2, "")
        cloud.rows = [row for row in cloud.rows if row["id"] != 4]
        second = await list_snapshots(reader, SnapshotFilter(), 2, first.next_cursor)
    assert [entry.id for entry in first.snapshots] == [5, 4]
    assert [entry.id for entry in second.snapshots] == [3, 2]


async def test_the_page_size_may_change_between_pages() -> None:
    async with reader_of(Cloud([snapshot(number) for number in range(1, 6)]).cut) as reader:
        first = await list_snapshots(reader, SnapshotFilter(), 1, "")
        rest = await list_snapshots(reader, SnapshotFilter(), 100, first.next_cursor)
    assert [row.id for row in rest.snapshots] == [4, 3, 2, 1]
    assert rest.next_cursor == ""


async def test_a_cursor_is_valid_for_its_own_list_only() -> None:
    async with reader_of(Cloud([snapshot(number) for number in range(1, 6)]).cut) as reader:
        cursor = (await list_snapshots(reader, SnapshotFilter(), 2, "")).next_cursor
        vm_cursor = (await list_virtual_machines(finder(reader), "", 2, "")).next_cursor
        assert cursor
        assert vm_cursor
        for other in (
            SnapshotFilter(search="s"),
            SnapshotFilter(order="oldest"),
            SnapshotFilter(vm_id=1),
            SnapshotFilter(state="ready"),
            SnapshotFilter(label="x"),
            SnapshotFilter(created_after=NOW),
            SnapshotFilter(created_before=NOW),
        ):
            with pytest.raises(RefusedError, match="does not belong to this list"):
                await list_snapshots(reader, other, 2, cursor)
        with pytest.raises(RefusedError):
            await list_snapshots(reader, SnapshotFilter(), 2, vm_cursor)
        with pytest.raises(RefusedError):
            await list_virtual_machines(finder(reader), "", 2, cursor)
        with pytest.raises(RefusedError):
            await list_virtual_machines(finder(reader), "s", 2, vm_cursor)


def encode_cursor(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "????",
        "\u00e9",
        "\ud800",
        " ",
        "\0",
        "2",
        "=" * 200,
        "A" * 10_000,
        encode_cursor(None),
        encode_cursor([1, 2]),
        encode_cursor([1, 2, 3]),
        encode_cursor([1, 2, 3, 4]),
        encode_cursor([1.0, 2.0, 3.0]),
        encode_cursor([True, True, True]),
        encode_cursor(["1", "2", "3"]),
        encode_cursor([[1], [2], [3]]),
        encode_cursor({"0": 1, "1": 2, "2": 3}),
        "[" * 100,
    ],
)
async def test_a_malformed_cursor_is_refused_without_a_request(cursor: str) -> None:
    requests: list[int] = []

    def cut(page: int, _size: int) -> tuple[Sequence[Entry], int]:
        requests.append(page)
        return [], 0

    async with reader_of(cut) as reader:
        with pytest.raises(RefusedError, match="does not belong to this list"):
            await list_snapshots(reader, SnapshotFilter(), 2, cursor)
        with pytest.raises(RefusedError, match="does not belong to this list"):
            await list_virtual_machines(finder(reader), "", 2, cursor)
    assert requests == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=5,
)
cursors = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(), max_size=20),
    st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
    json_values.map(encode_cursor),
)


@given(st.lists(cursors, min_size=1, max_size=5))
def test_arbitrary_cursors_do_not_crash_a_list(texts: list[str]) -> None:
    async def run() -> None:
        async with reader_of(Cloud([snapshot(1), snapshot(2)]).cut) as reader:
            for text in texts:
                # Only an empty cursor is valid.
                if text:
                    with pytest.raises(RefusedError, match="does not belong to this list"):
                        await list_snapshots(reader, SnapshotFilter(), 1, text)
                else:
                    assert (await list_snapshots(reader, SnapshotFilter(), 1, text)).total == 2

    anyio.run(run)
