"""Lists that change while their pages are read: no entry is missed without notice."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.core.errors import UnavailableError
from snapshot_mcp.operations import pagination
from snapshot_mcp.operations.listing import (
    find_virtual_machines,
    list_snapshots,
    read_all_snapshots,
    read_snapshots_of_vm,
)
from snapshot_mcp.operations.pagination import MAX_CONFIRMED_PAGES, MAX_PASSES, PAGE_SIZE
from snapshot_mcp.operations.requests import SnapshotFilter
from snapshot_mcp.operations.review import ReviewOperations
from tests.conftest import ManualClock, open_api_client

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Row = dict[str, Any]
Change = Callable[[list[Row]], None]


def make_row(number: int) -> Row:
    created = NOON - timedelta(days=90) + timedelta(minutes=number)
    return {
        "id": number,
        "name": f"s{number}",
        "vm_id": 7,
        "size": 1,
        "status": "SUCCESS",
        "created_at": created.isoformat(),
        "labels": ["golden"] if number == 101 else [],
    }


@dataclass
class MovingCloud:
    """A cloud whose rows change after certain requests.

    Attributes:
        rows: in the order of the list.
        changes: a change after the answer to the request with this number, from 1.
        count: returns the count that a page states.
    """

    rows: list[Row]
    changes: dict[int, Change] = field(default_factory=dict[int, Change])
    count: Callable[[int, int], int | None] = lambda total, _page: total
    requests: int = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if "pageSize" not in request.url.params:
            return httpx.Response(404)  # the billing history
        page, size = (int(request.url.params[name]) for name in ("page", "pageSize"))
        entries = [dict(row) for row in self.rows[(page - 1) * size : page * size]]
        body = {"page_size": size, "count": self.count(len(self.rows), len(entries))}
        self.requests += 1
        if self.requests in self.changes:
            self.changes[self.requests](self.rows)
        return httpx.Response(200, json={"snapshots": entries, "instances": entries} | body)

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[CloudReader]:
        async with open_api_client(httpx.MockTransport(self.answer)) as api:
            yield CloudReader(api)


def delete_first(rows: list[Row]) -> None:
    del rows[0]


def insert_first(rows: list[Row]) -> None:
    rows.insert(0, make_row(9_001))


def replace_first(rows: list[Row]) -> None:
    del rows[0]
    rows.append(make_row(9_001))


COUNTS: dict[str, Callable[[int, int], int | None]] = {
    "total": lambda total, _page: total,
    "of the page": lambda _total, page: page,
    "none": lambda _total, _page: None,
}


@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("change", [delete_first, insert_first, replace_first])
@pytest.mark.parametrize("moment", [1, 2, 3])
@pytest.mark.sampled(4)
async def test_a_decision_never_misses_a_row(
    count: Callable[[int, int], int | None], change: Change, moment: int
) -> None:
    cloud = MovingCloud([make_row(number) for number in range(1, 251)], {moment: change}, count)
    async with cloud.reader() as reader:
        snapshots = await read_all_snapshots(reader)
        assert [row.id for row in snapshots] == [row["id"] for row in cloud.rows]
        of_vm = await read_snapshots_of_vm(reader, 7)
        assert len(of_vm) == len(cloud.rows)
        assert len((await find_virtual_machines(reader, "")).results) == len(cloud.rows)


@pytest.mark.parametrize("change", [delete_first, insert_first])
@pytest.mark.parametrize("moment", [1, 2])
async def test_a_list_is_read_again_if_its_count_changes(change: Change, moment: int) -> None:
    cloud = MovingCloud([make_row(number) for number in range(1, 251)], {moment: change})
    async with cloud.reader() as reader:
        listed = await list_snapshots(reader, SnapshotFilter(label="golden"), 20, "")
        assert (listed.total, listed.total_size) == (1, 1)
        everything = await list_snapshots(reader, SnapshotFilter(order="oldest"), 20, "")
    assert everything.total == everything.total_size == len(cloud.rows)


async def test_a_list_without_a_count_is_read_again_if_a_row_is_repeated() -> None:
    rows = [make_row(number) for number in range(1, 251)]
    cloud = MovingCloud(rows, {1: insert_first}, COUNTS["none"])
    async with cloud.reader() as reader:
        listed = await list_snapshots(reader, SnapshotFilter(order="oldest"), 20, "")
    assert listed.total == 251


@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
async def test_a_list_that_keeps_changing_decides_nothing(
    count: Callable[[int, int], int | None],
) -> None:
    numbers = iter(range(1_000, 9_000))

    def change(rows: list[Row]) -> None:
        del rows[0]
        rows.append(make_row(next(numbers)))

    rows = [make_row(number) for number in range(1, 251)]
    cloud = MovingCloud(rows, dict.fromkeys(range(1, 999), change), count)
    async with cloud.reader() as reader:
        with pytest.raises(UnavailableError, match=r"kept changing.*Nothing was changed"):
            await read_all_snapshots(reader)
        assert cloud.requests <= MAX_PASSES * 5
        with pytest.raises(UnavailableError, match="kept changing"):
            await ReviewOperations(reader, ManualClock().clock).review(7, 10)


async def test_a_review_counts_each_row_once_although_the_list_was_read_again() -> None:
    cloud = MovingCloud([make_row(number) for number in range(1, 251)])
    async with cloud.reader() as reader:
        operations = ReviewOperations(reader, ManualClock().clock)
        still = await operations.review(7, 10)
        cloud.changes = {cloud.requests + 7: replace_first, cloud.requests + 8: delete_first}
        moved = await operations.review(7, 10)
    assert moved.snapshots == still.snapshots - 1


async def test_a_list_that_is_shorter_than_its_count_decides_nothing_but_is_shown() -> None:
    rows = [make_row(number) for number in range(1, 251)]
    cloud = MovingCloud(rows, count=lambda total, _page: total + 1)
    async with cloud.reader() as reader:
        with pytest.raises(UnavailableError, match="counts 251 entries but lists only 250"):
            await read_all_snapshots(reader)
        listed = await list_snapshots(reader, SnapshotFilter(order="oldest"), 20, "")
        assert listed.total == 250
        # The count may be that of all snapshots, although only some match the search.
        assert len(await read_all_snapshots(reader, "s")) == 250


async def test_a_short_list_of_one_page_decides_nothing() -> None:
    cloud = MovingCloud([make_row(1), make_row(2)], count=lambda total, _page: total + 1)
    async with cloud.reader() as reader:
        with pytest.raises(UnavailableError, match="counts 3 entries but lists only 2"):
            await read_snapshots_of_vm(reader, 7)


async def test_a_list_of_one_page_costs_one_request() -> None:
    cloud = MovingCloud([make_row(number) for number in range(1, 60)])
    async with cloud.reader() as reader:
        await read_all_snapshots(reader)
    assert cloud.requests == 1


@pytest.mark.parametrize("change", [None, insert_first, replace_first])
async def test_a_long_list_is_confirmed_by_its_ends(change: Change | None) -> None:
    pages = MAX_CONFIRMED_PAGES + 2
    cloud = MovingCloud([make_row(number) for number in range(1, pages * PAGE_SIZE)])
    if change is not None:
        cloud.changes = {3: change}
    async with cloud.reader() as reader:
        snapshots = await read_all_snapshots(reader)
    assert {row.id for row in snapshots} == {row["id"] for row in cloud.rows}
    assert cloud.requests <= (2 * pages + 4 if change else pages + 2)


@given(
    st.integers(0, 40),
    st.dictionaries(
        st.integers(1, 12), st.sampled_from(["first", "last", "any", "insert", "swap"]), max_size=4
    ),
    st.sampled_from(sorted(COUNTS)),
    st.randoms(),
)
def test_no_decision_misses_a_row_that_was_there_all_the_time(
    length: int, moments: dict[int, str], count: str, random: Random
) -> None:
    import anyio  # noqa: PLC0415 - only this test runs its own loop

    numbers = iter(range(1_000, 9_000))

    def apply(kind: str) -> Change:
        def change(rows: list[Row]) -> None:
            if kind in ("first", "last", "any", "swap") and rows:
                index = {"first": 0, "last": -1}.get(kind, random.randrange(len(rows)))
                del rows[index]
            if kind in ("insert", "swap"):
                rows.insert(random.randint(0, len(rows)), make_row(next(numbers)))

        return change

    async def run() -> None:
        changes = {moment: apply(kind) for moment, kind in moments.items()}
        cloud = MovingCloud(
            [make_row(number) for number in range(1, length + 1)], changes, COUNTS[count]
        )
        before = {row["id"] for row in cloud.rows}
        async with cloud.reader() as reader:
            try:
                collected = await pagination.collect_pages(
                    lambda page: reader.get_snapshots_page(page, 10, ""),
                    lambda: lambda entry: entry.id,
                    decides=True,
                )
            except UnavailableError:
                return
        stayed = before & {row["id"] for row in cloud.rows}
        assert stayed <= set(collected.results)
        assert len(collected.results) == len(set(collected.results))

    anyio.run(run)
