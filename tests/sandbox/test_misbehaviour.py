# ruff: noqa: ANN401 - tests read JSON of any type
"""The embedded cloud that misbehaves on purpose: each option, and what it leaves as it is."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.mcp_server.misbehaving_transport import BreakableTransport
from snapshot_mcp.sandbox.app import create_app
from snapshot_mcp.sandbox.misbehaving_cloud import BASE_FIELDS, MisbehavingCloud, break_connections
from snapshot_mcp.sandbox.misbehaviour import OPTIONS, Misbehaviour, RateLimit, parse_misbehaviour
from tests.conftest import ManualClock
from tests.sandbox.conftest import KEY, NEWEST, NOTEBOOK
from tests.waiting import ANSWER_TIMEOUT_SECONDS

EVERY_OPTION = (
    "stale-reads=5, stale-lists=0.5,short-lists,small-pages=10,moving-pages=0.25,dropped-labels,"
    "error-500=3,rate-limit=20/30,retry-after,slow-writes=12,lost-replies=1,seed=7"
)


class RudeCloud:
    """A client of an embedded cloud with some misbehaviour, and the cloud's clock."""

    def __init__(self, http: httpx.AsyncClient, clock: ManualClock) -> None:
        self.http = http
        self.clock = clock

    async def get(self, path: str, **query: object) -> Any:
        response = await self.http.get(path, params={key: str(query[key]) for key in query})
        assert response.status_code == 200, response.text
        return response.json()

    async def status(self, method: str, path: str) -> int:
        return (await self.http.request(method, path)).status_code

    async def create(self, name: str, **fields: object) -> Any:
        path = f"/core/virtual-machines/{NOTEBOOK}/snapshots"
        body = {"name": name, "description": "", **fields}
        response = await self.http.post(path, json=body)
        assert response.status_code == 201, response.text
        return response.json()["snapshot"]

    async def ids(self) -> list[int]:
        return [row["id"] for row in (await self.get("/core/snapshots"))["snapshots"]]


Open = Callable[..., AbstractAsyncContextManager[RudeCloud]]


@pytest.fixture
def rude(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def open_cloud(
        options: str, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> AsyncGenerator[RudeCloud]:
        clock = ManualClock()
        time = Clock(clock.now, sleep or clock.sleep, clock.monotonic)
        cloud = MisbehavingCloud(parse_misbehaviour(options), time)
        app = create_app(
            database=tmp_path / "cloud.db", api_key=KEY, now=clock.now, misbehaving=cloud
        )
        transport = BreakableTransport(break_connections(app))
        headers = {"api_key": KEY}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://cloud/v1", headers=headers
        ) as http:
            yield RudeCloud(http, clock)

    return open_cloud


def test_every_option_is_parsed() -> None:
    assert parse_misbehaviour(EVERY_OPTION) == Misbehaviour(
        stale_reads=5,
        stale_lists=0.5,
        short_lists=True,
        small_pages=10,
        moving_pages=0.25,
        dropped_labels=True,
        error_500=3,
        rate_limit=RateLimit(20, 30),
        retry_after=True,
        slow_writes=12,
        lost_replies=1,
        seed=7,
    )
    assert {part.split("=")[0].strip() for part in EVERY_OPTION.split(",")} == {
        option.name for option in OPTIONS
    }


def test_the_page_about_the_embedded_cloud_lists_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs/embedded-cloud.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{option.form}` | {option.meaning} |" for option in OPTIONS]


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_an_empty_text_has_no_options(text: str) -> None:
    assert parse_misbehaviour(text) == Misbehaviour()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("stale-read=5", 'no misbehaviour "stale-read"'),
        ("stale_reads=5", 'no misbehaviour "stale_reads"'),
        ("stale-reads", "it needs a number"),
        ("stale-reads=", "it needs a number"),
        ("stale-reads=-1", "it needs a number"),
        ("stale-reads=0", "above 0"),
        ("stale-reads=nan", "it needs a number"),
        ("stale-reads=1e3", "it needs a number"),
        ("slow-writes=99999", "at most 3600"),
        ("error-500=0", "probability below 1"),
        ("error-500=1.5", "probability below 1"),
        ("rate-limit=20/", "it needs a number"),
        ("rate-limit=2.5", "whole number"),
        ("rate-limit=20/0", "above 0"),
        ("dropped-labels=yes", "it takes no value"),
        ("short-lists,short-lists", "given twice"),
        ("retry-after", "needs rate-limit"),
        ("seed=1.2.3", "it needs a number"),
    ],
)
def test_an_error_names_the_option_and_the_valid_ones(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(problem)) as caught:
        parse_misbehaviour(text)
    assert all(option.form in caught.value.next_step for option in OPTIONS)


@given(st.text(max_size=60) | st.from_regex(r"[a-z-]{0,14}=[0-9./]{0,9}", fullmatch=True))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    with suppress(ConfigurationError):
        assert isinstance(parse_misbehaviour(text), Misbehaviour)


async def test_stale_reads_show_the_state_of_some_seconds_ago(rude: Open) -> None:
    async with rude("stale-reads=5") as cloud:
        before = await cloud.ids()
        cloud.clock.advance(seconds=10)
        made = await cloud.create("new-one")
        assert await cloud.status("DELETE", f"/core/snapshots/{NEWEST}") == 200
        cloud.clock.advance(seconds=4)
        assert await cloud.ids() == before
        assert await cloud.status("GET", f"/core/snapshots/{NEWEST}") == 200
        assert await cloud.status("GET", f"/core/snapshots/{made['id']}") == 404
        assert (await cloud.get("/core/snapshots/name-availability/new-one"))["available"]
        assert await cloud.status("DELETE", f"/core/snapshots/{NEWEST}") == 404  # writes are not
        cloud.clock.advance(seconds=3)
        assert sorted(await cloud.ids()) == sorted({*before, made["id"]} - {NEWEST})
        assert await cloud.status("GET", f"/core/snapshots/{NEWEST}") == 404
        assert not (await cloud.get("/core/snapshots/name-availability/new-one"))["available"]
        stale = (await cloud.get(f"/core/snapshots/{made['id']}"))["snapshot"]
        assert stale["status"] == "CREATING"


async def test_stale_lists_leave_single_reads_as_they_are(rude: Open) -> None:
    async with rude("stale-lists=5") as cloud:
        before = await cloud.ids()
        await cloud.create("new-one")
        assert await cloud.status("DELETE", f"/core/snapshots/{NEWEST}") == 200
        cloud.clock.advance(seconds=2)
        assert await cloud.status("GET", f"/core/snapshots/{NEWEST}") == 404
        assert await cloud.ids() == before
        assert (await cloud.get("/core/snapshots/name-availability/new-one"))["available"]


async def test_stale_reads_notice_the_changes_of_another_process(
    rude: Open, tmp_path: Path
) -> None:
    async with rude("stale-reads=5") as cloud:
        before = await cloud.ids()
        other = create_app(database=tmp_path / "cloud.db", api_key=KEY, now=cloud.clock.now)
        transport, headers = httpx.ASGITransport(other), {"api_key": KEY}
        async with httpx.AsyncClient(transport=transport, headers=headers) as client:
            address = f"http://cloud/v1/core/snapshots/{NEWEST}"
            assert (await client.delete(address)).status_code == 200
        assert await cloud.ids() == before
        cloud.clock.advance(seconds=7)
        assert await cloud.ids() == [number for number in before if number != NEWEST]


async def test_short_lists_have_the_base_fields_and_single_reads_all(rude: Open) -> None:
    async with rude("short-lists") as cloud:
        rows = (await cloud.get("/core/snapshots", page=1, pageSize=5))["snapshots"]
        assert [tuple(row) for row in rows] == [BASE_FIELDS] * 5
        snapshot = (await cloud.get(f"/core/snapshots/{NEWEST}"))["snapshot"]
        assert snapshot["vm_name"]
        assert snapshot.items() >= rows[0].items()
        assert (await cloud.get("/core/virtual-machines"))["instances"][0]["flavor"]


async def test_dropped_labels_are_neither_stored_nor_returned(rude: Open) -> None:
    async with rude("dropped-labels") as cloud:
        made = await cloud.create("new-one", labels=["keep"], description="text")
        assert (made["labels"], made["description"]) == ([], "text")
        cloud.clock.advance(seconds=60)
        assert (await cloud.get(f"/core/snapshots/{made['id']}"))["snapshot"]["labels"] == []
        image = await cloud.http.post(
            f"/core/snapshots/{made['id']}/image", json={"name": "base", "labels": ["keep"]}
        )
        assert image.json()["image"]["labels"] == []


@pytest.mark.parametrize("body", [b"[1]", b"{", b"null"])
async def test_dropped_labels_leave_the_refusal_of_a_bad_body(rude: Open, body: bytes) -> None:
    async with rude("dropped-labels") as cloud:
        path = f"/core/virtual-machines/{NOTEBOOK}/snapshots"
        assert (await cloud.http.post(path, content=body)).status_code == 400


async def test_small_pages_cover_the_list(rude: Open) -> None:
    async with rude("small-pages=10") as cloud:
        pages = [await cloud.get("/core/snapshots", page=page, pageSize=100) for page in (1, 2, 3)]
        assert [(page["count"], page["page_size"]) for page in pages] == [(30, 10)] * 3
        assert [row["id"] for page in pages for row in page["snapshots"]] == await cloud.ids()


async def test_rows_of_later_pages_move_by_one(rude: Open) -> None:
    async with rude("moving-pages=1") as cloud:
        ids = await cloud.ids()
        first = await cloud.get("/core/snapshots", page=1, pageSize=10)
        assert [row["id"] for row in first["snapshots"]] == ids[:10]
        moved = [await cloud.get("/core/snapshots", page=2, pageSize=10) for _ in range(20)]
        shown = {(page["count"], tuple(row["id"] for row in page["snapshots"])) for page in moved}
        assert shown == {(29, tuple(ids[11:21])), (31, tuple(ids[9:19]))}
        assert {(page["page"], page["page_size"]) for page in moved} == {(2, 10)}
        vms = await cloud.get("/core/virtual-machines", page=2, pageSize=2)
        assert vms["count"] in (7, 9)


@pytest.mark.parametrize(("frequency", "failures"), [("1", 30), ("3", 10), ("0.5", None)])
async def test_reads_fail_with_status_500(rude: Open, frequency: str, failures: int | None) -> None:
    async with rude(f"error-500={frequency}") as cloud:
        path = f"/core/snapshots/{NEWEST}"
        statuses = [await cloud.status("GET", path) for _ in range(30)]
        assert set(statuses) <= {200, 500}
        count = statuses.count(500)
        assert 0 < count < 30 if failures is None else count == failures
        assert await cloud.status("DELETE", path) == 200


async def test_the_seed_decides_what_fails(rude: Open) -> None:
    async def failing_reads(seed: int) -> list[int]:
        async with rude(f"error-500=0.5,seed={seed}") as cloud:
            return [await cloud.status("GET", "/core/regions") for _ in range(30)]

    assert await failing_reads(1) == await failing_reads(1) != await failing_reads(2)


@pytest.mark.parametrize(("extra", "advice"), [("", None), (",retry-after", "7")])
async def test_requests_above_the_rate_limit_are_blocked_until_the_window_ends(
    rude: Open, extra: str, advice: str | None
) -> None:
    async with rude(f"rate-limit=3/10{extra}") as cloud:
        assert [await cloud.status("GET", "/core/regions") for _ in range(3)] == [200] * 3
        cloud.clock.advance(seconds=3)
        blocked = await cloud.http.delete(f"/core/snapshots/{NEWEST}")
        assert blocked.status_code == 429
        assert blocked.headers.get("retry-after") == advice
        assert blocked.json()["status"] is False
        cloud.clock.advance(seconds=7)
        assert await cloud.status("GET", f"/core/snapshots/{NEWEST}") == 200


async def test_a_slow_write_takes_effect_after_its_time(rude: Open) -> None:
    async with rude("slow-writes=12") as cloud:
        started = cloud.clock.now()
        made = await cloud.create("new-one")
        assert (cloud.clock.now() - started).total_seconds() == 12
        assert made["created_at"] == cloud.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_slow_write_takes_effect_although_its_client_has_hung_up(rude: Open) -> None:
    asleep, may_continue = anyio.Event(), anyio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await may_continue.wait()

    async with rude("slow-writes=12", sleep) as cloud:
        path = f"/core/snapshots/{NEWEST}"
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            for target in (path, "/core/snapshots/1"):  # a refusal is not an error of the cloud
                async with anyio.create_task_group() as group:
                    group.start_soon(cloud.status, "DELETE", target)
                    await asleep.wait()
                    group.cancel_scope.cancel()
            assert await cloud.status("GET", path) == 200
            may_continue.set()
            while await cloud.status("GET", path) == 200:
                cloud.clock.advance(seconds=1)  # the deletion takes a moment
                await anyio.sleep(0.005)  # a thread writes
        assert await cloud.status("GET", path) == 404


async def test_a_lost_reply_breaks_the_connection_after_the_effect(rude: Open) -> None:
    async with rude("lost-replies=2") as cloud:
        path = f"/core/snapshots/{NEWEST}"
        assert await cloud.status("DELETE", path) == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await cloud.http.delete(f"/core/snapshots/{NEWEST - 1}")
        cloud.clock.advance(seconds=2)
        assert await cloud.status("GET", f"/core/snapshots/{NEWEST - 1}") == 404
        assert await cloud.status("DELETE", path) == 404
        with pytest.raises(httpx.RemoteProtocolError):
            await cloud.http.delete(path)  # the refusal is lost as well
