"""Long lists: which pages are read, how many at a time, and which fields are decoded."""

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.decoding import build_list_decoder, decode_json
from snapshot_mcp.cloud.parsing import (
    build_field_parser,
    entry_keys,
    parse_entry,
    parse_fields,
    parse_snapshot,
)
from snapshot_mcp.cloud.scheduler import MAX_CONCURRENT_READS
from snapshot_mcp.core.errors import UnavailableError
from snapshot_mcp.operations.listing import (
    MAX_PAGES_READ_COMPLETELY,
    list_snapshots,
    read_snapshots_of_vm,
)
from snapshot_mcp.operations.pagination import PAGE_SIZE
from snapshot_mcp.operations.requests import SnapshotFilter
from tests.conftest import open_api_client

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MANY = PAGE_SIZE * (MAX_PAGES_READ_COMPLETELY + 3) + 7


def make_rows(count: int) -> list[dict[str, Any]]:
    """Return snapshots as a cloud lists them, newest first."""
    return [
        {
            "id": number,
            "name": f"s{number}",
            "created_at": (NOW - timedelta(minutes=MANY - number)).isoformat(),
            "size": number % 5,
            "vm_id": number % 8,
        }
        for number in range(count, 0, -1)
    ]


@dataclass
class Cloud:
    """A cloud with these snapshots that records the requested pages."""

    rows: list[dict[str, Any]]
    failing: int = 0
    requested_pages: list[int] = field(default_factory=list[int])
    at_once: int = 0
    most_at_once: int = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        page, size = (int(request.url.params[name]) for name in ("page", "pageSize"))
        self.requested_pages.append(page)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        self.at_once -= 1
        if page == self.failing:
            return httpx.Response(500)
        entries = self.rows[(page - 1) * size : page * size]
        return httpx.Response(200, json={"snapshots": entries, "count": len(self.rows)})

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[CloudReader]:
        transport = httpx.MockTransport(self.answer)
        async with open_api_client(transport) as api:
            yield CloudReader(api)


async def test_pages_are_read_concurrently_and_once_each() -> None:
    cloud = Cloud(make_rows(MANY))
    async with cloud.reader() as reader:
        answer = await list_snapshots(reader, SnapshotFilter(vm_id=3), 20, "")
    wanted = [row for row in cloud.rows if row["vm_id"] == 3]
    assert answer.total == len(wanted)
    assert answer.total_size == sum(row["size"] for row in wanted)
    assert [snapshot.id for snapshot in answer.snapshots] == [row["id"] for row in wanted[:20]]
    assert sorted(cloud.requested_pages) == list(range(1, MAX_PAGES_READ_COMPLETELY + 5))
    assert 2 < cloud.most_at_once <= MAX_CONCURRENT_READS


async def test_a_list_without_filters_reads_only_the_pages_it_shows_and_the_last() -> None:
    cloud = Cloud(make_rows(MANY))
    async with cloud.reader() as reader:
        answer = await list_snapshots(reader, SnapshotFilter(), 20, "")
        assert cloud.requested_pages == [1, MAX_PAGES_READ_COMPLETELY + 4]
        following = await list_snapshots(reader, SnapshotFilter(), 100, answer.next_cursor)
    assert [snapshot.id for snapshot in answer.snapshots] == list(range(MANY, MANY - 20, -1))
    assert [snapshot.id for snapshot in following.snapshots] == list(
        range(MANY - 20, MANY - 120, -1)
    )
    assert (answer.total, answer.total_size) == (MANY, None)
    assert sorted(cloud.requested_pages[2:]) == [1, 2, MAX_PAGES_READ_COMPLETELY + 4]


async def test_paging_through_a_long_list_without_filters_shows_each_entry_once() -> None:
    cloud = Cloud(make_rows(MANY))
    ids, cursor = list[int](), ""
    async with cloud.reader() as reader:
        while not ids or cursor:
            page = await list_snapshots(reader, SnapshotFilter(), 100, cursor)
            ids += [snapshot.id for snapshot in page.snapshots]
            cursor = page.next_cursor
    assert ids == list(range(MANY, 0, -1))


@pytest.mark.parametrize("anomaly", ["first", "last", "middle", "no time", "oldest first"])
async def test_a_list_that_is_not_sorted_by_time_is_read_in_full(anomaly: str) -> None:
    rows = make_rows(MANY)
    newest = rows[0] | {"id": MANY + 1, "created_at": (NOW + timedelta(minutes=1)).isoformat()}
    match anomaly:
        case "first":
            rows.insert(50, newest)
        case "last":
            rows.append(newest)
        case "middle":
            rows.insert(PAGE_SIZE + 50, newest)
        case "no time":
            rows[3] = rows[3] | {"created_at": None}
            rows.insert(PAGE_SIZE * 3, newest)
        case _:
            rows = [*reversed(rows), newest]
    cloud = Cloud(rows)
    async with cloud.reader() as reader:
        # The second page is read because the first one does not have enough entries.
        answer = await list_snapshots(reader, SnapshotFilter(), 100, "")
    assert answer.snapshots[0].id == MANY + 1
    assert answer.total_size is not None
    assert set(cloud.requested_pages) == set(range(1, MAX_PAGES_READ_COMPLETELY + 5))


async def test_a_page_that_cannot_be_read_fails_the_whole_list() -> None:
    cloud = Cloud(make_rows(MANY), failing=4)
    async with cloud.reader() as reader:
        with pytest.raises(UnavailableError, match="status 500"):
            await read_snapshots_of_vm(reader, 3)


async def test_a_list_in_any_order_is_read_in_full() -> None:
    rows = make_rows(MANY)
    random.Random(7).shuffle(rows)  # noqa: S311 - any mixed order serves
    async with Cloud(rows).reader() as reader:
        for order in ("newest", "oldest", "largest"):
            answer = await list_snapshots(reader, SnapshotFilter(order=order), 5, "")
            assert answer.total == MANY
        largest = [snapshot.size for snapshot in answer.snapshots]
    assert largest == [4, 4, 4, 4, 4]


FIELDS = ("vm_id", "status", "size", "created_at", "labels")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9_999) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["2026-11-20T12:00:00", "SUCCESS", "5", '["a", "b"]', "a, b"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "label", "id"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*FIELDS, "virtual_machine_id", "vmId", "tags"]), values))
def test_a_single_parsed_field_equals_that_of_the_full_entry(raw: dict[str, object]) -> None:
    entry = parse_entry(raw | {"id": 1})
    assert entry is not None
    full = parse_snapshot(entry.raw)
    for name in FIELDS:
        alone = build_field_parser(name)(entry)
        assert alone == getattr(full, name)
        assert parse_fields(entry, FIELDS).get(name) == alone


rows = st.dictionaries(
    st.sampled_from([*FIELDS, "id", "name", "virtual_machine_id", "vmId", "tags", "vm_flavor"]),
    values,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "status": values,
        "count": values,
        "message": values,
        "snapshots": st.lists(rows | values, max_size=3) | values,
        "other": values,
    },
)


@given(bodies)
def test_partial_decoding_yields_the_same_as_full_decoding(body: dict[str, object]) -> None:
    received = json.dumps(body).encode()
    full = cast("dict[str, object]", decode_json(received))
    decoded = build_list_decoder("snapshots", entry_keys())(received)
    part = cast("dict[str, object]", decoded)
    for key in ("status", "count", "message"):
        assert repr(part.get(key)) == repr(full.get(key))
    assert [field_values(result) for result in listed(part)] == [
        field_values(result) for result in listed(full)
    ]


@given(bodies, st.sets(st.sampled_from([*FIELDS, "name"])))
def test_decoding_selected_fields_yields_the_same_values_as_full_decoding(
    body: dict[str, object], names: set[str]
) -> None:
    received = json.dumps(body).encode()
    full = cast("dict[str, object]", decode_json(received))
    part = cast("dict[str, object]", build_list_decoder("snapshots", entry_keys(names))(received))
    wanted = tuple(sorted(names))
    assert [field_values(result, wanted) for result in listed(part)] == [
        field_values(result, wanted) for result in listed(full)
    ]


def listed(body: dict[str, object]) -> list[object]:
    found = body.get("snapshots")
    return cast("list[object]", found) if isinstance(found, list) else []


def field_values(raw: object, names: tuple[str, ...] = (*FIELDS, "name")) -> object:
    entry = parse_entry(raw)
    return entry and (entry.id, parse_fields(entry, names))


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"<html>",
        b'{"snapshots": [{"id": 1, "name": "half \\ud83d"}]}',
        b'{"snapshots": [{"id": 1, "size": NaN}]}',
        b'{"snapshots": [{"id": 1}, 7, null, "x"]}',
        b'{"snapshots": {"id": 1}}',
        b"[" * 100_000,
        b'{"snapshots": [{"id": 99999999999999999999999, "size": 1e999}]}',
        b'{"snapshots": [{"id": 1, "id": 2}]} trailing',
    ],
)
def test_unusual_lists_are_decoded_in_full(received: bytes) -> None:
    part = build_list_decoder("snapshots", entry_keys())(received)
    assert repr(part) == repr(decode_json(received))
