"""Open attempts: the outcome is recorded when the cloud shows it, or can no longer change it."""

from contextlib import closing
from datetime import timedelta

import httpx
import pytest
from mcp import Client

from snapshot_mcp.ledger.chain import Attempt, Row
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.operations.recovery import LOOKUP_LIMIT, PROCESSING_LIMIT
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import World, call_tool
from tests.faults.clocks import SkewedClock
from tests.tools.helpers import change_cloud, creation_arguments, make_plan, ready_snapshot

pytestmark = pytest.mark.one_era

TOOLS = ("create_snapshot", "restore_snapshot", "delete_snapshot")
NAME = "left-open"


async def left_open(world: World, client: Client, tool: str, cloud: str = "") -> Attempt:
    """Record an attempt of a process that ended before it recorded the outcome."""
    target: int = (await ready_snapshot(client))["id"]
    names = {"create_snapshot": "name", "restore_snapshot": "new_vm_name"}
    arguments = {names[tool]: NAME} if tool in names else {}
    if tool == "create_snapshot":
        target = int(str((await creation_arguments(client))["vm_id"]))
    attempt = Attempt(
        "left", tool, target, arguments | ({"cloud": cloud} if cloud else {}), "local", "arguments"
    )
    ledger = open_sqlite_ledger(world.folder / LEDGER_FILE, world.manual_clock.now)
    with closing(ledger):
        await ledger.record("sent", attempt)
    return attempt


async def outcomes(world: World) -> list[tuple[str, str]]:
    return [(row.event, row.reason) for row in await world.ledger() if row.attempt == "left"][1:]


async def read(client: Client) -> None:
    await call_tool(client, "list_snapshots", limit=1)


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_attempt_without_effect_stays_open_until_the_cloud_cannot_process_it(
    world: World, tool: str
) -> None:
    async with world.client() as client:
        await left_open(world, client, tool)
    async with world.client() as client:
        await read(client)
        assert await outcomes(world) == []
        world.manual_clock.advance(seconds=PROCESSING_LIMIT.total_seconds() - 1)
        await read(client)
        assert await outcomes(world) == []
        world.manual_clock.advance(seconds=10)
        await read(client)
        await read(client)
    expected = [("failed", "settled after a crash: the cloud does not show it")]
    assert await outcomes(world) == expected
    assert world.writes == []


@pytest.mark.parametrize("hours", [1, -1])
async def test_an_attempt_stays_open_after_the_time_of_day_was_set(
    world: World, hours: int
) -> None:
    world.manual_clock = clock = SkewedClock()
    async with world.client() as client:
        await left_open(world, client, "delete_snapshot")
    async with world.client() as client:
        await read(client)
        clock.jump(hours)
        clock.advance(seconds=PROCESSING_LIMIT.total_seconds() - 10)
        await read(client)
        assert await outcomes(world) == []
        clock.advance(seconds=PROCESSING_LIMIT.total_seconds())
        await read(client)
    assert [event for event, _ in await outcomes(world)] == ["failed"]


@pytest.mark.parametrize("seconds", [20, 300])
async def test_a_request_that_takes_effect_after_the_restart_is_recorded_as_done(
    world: World, seconds: int
) -> None:
    async with world.client() as client:
        attempt = await left_open(world, client, "delete_snapshot")
    async with world.client() as client:
        await read(client)
        world.manual_clock.advance(seconds=seconds)
        change_cloud(world, "DELETE FROM snapshots WHERE id = ?", attempt.target)
        await read(client)
        assert await outcomes(world) == [("done", "settled after a crash: the cloud shows it")]


async def test_the_next_process_checks_what_the_earlier_ones_left_open(world: World) -> None:
    async with world.client() as client:
        attempt = await left_open(world, client, "delete_snapshot")
    async with world.client() as client:
        await read(client)
    change_cloud(world, "DELETE FROM snapshots WHERE id = ?", attempt.target)
    async with world.client() as client:
        await read(client)
    assert await outcomes(world) == [("done", "settled after a crash: the cloud shows it")]


async def test_an_attempt_stays_open_while_the_cloud_cannot_be_read(world: World) -> None:
    async def fail(request: httpx.Request) -> httpx.Response | None:
        single = request.method == "GET" and request.url.path.rsplit("/", 1)[-1].isdigit()
        return httpx.Response(500) if single else None

    async with world.client() as client:
        await left_open(world, client, "delete_snapshot")
    world.manual_clock.advance(hours=1)
    world.fail(fail)
    async with world.client() as client:
        await read(client)
        assert await outcomes(world) == []
        world.fail(None)
        world.manual_clock.advance(minutes=2)
        await read(client)
    assert [event for event, _ in await outcomes(world)] == ["failed"]


async def test_a_creation_that_is_checked_too_late_has_an_unknown_outcome(world: World) -> None:
    async with world.client() as client:
        await left_open(world, client, "create_snapshot")
    world.manual_clock.advance(seconds=LOOKUP_LIMIT.total_seconds() + 60)
    async with world.client() as client:
        await read(client)
        world.manual_clock.advance(minutes=1)
        await read(client)
    ((event, reason),) = await outcomes(world)
    assert event == "unknown"
    assert "may have been deleted since" in reason


async def test_an_attempt_on_another_cloud_is_not_looked_up_here(world: World) -> None:
    async with world.client() as client:
        attempt = await left_open(world, client, "delete_snapshot", "https://other.example/v1")
    change_cloud(world, "DELETE FROM snapshots WHERE id = ?", attempt.target)
    world.manual_clock.advance(hours=1)
    async with world.client() as client:
        await read(client)
    assert await outcomes(world) == []


async def test_a_row_from_a_clock_that_is_ahead_does_not_stay_open_for_ever(world: World) -> None:
    async with world.client() as client:
        world.manual_clock.advance(days=400)
        await left_open(world, client, "delete_snapshot")
        world.manual_clock.time -= timedelta(days=400)
    async with world.client() as client:
        await read(client)
        world.manual_clock.advance(seconds=PROCESSING_LIMIT.total_seconds() - 10)
        await read(client)
        assert await outcomes(world) == []
        world.manual_clock.advance(seconds=20)
        await read(client)
    assert [event for event, _ in await outcomes(world)] == ["failed"]


async def never_answer(request: httpx.Request) -> httpx.Response | None:
    if request.method == "GET":
        return None
    raise httpx.ReadTimeout("no answer")


async def rows_of_write(world: World) -> list[Row]:
    return [row for row in await world.attempts() if row.tool == "delete_snapshot"]


@pytest.mark.parametrize(("event", "verb"), [("done", "shows"), ("failed", "does not show")])
async def test_an_unknown_outcome_is_settled_later_by_the_same_process(
    world: World, client: Client, event: str, verb: str
) -> None:
    snapshot = await ready_snapshot(client)
    commit, _ = await make_plan(client, "delete_snapshot", snapshot)
    world.fail(never_answer)
    result = await call_tool(client, "delete_snapshot", **commit)
    assert result["outcome"] == "unknown"
    world.fail(None)
    world.manual_clock.advance(seconds=30)
    happens = event == "done"
    if happens:
        change_cloud(world, "DELETE FROM snapshots WHERE id = ?", snapshot["id"])
    await read(client)
    events = [row.event for row in await rows_of_write(world)]
    assert events == ["sent", "unknown", *(["done"] if happens else [])]
    world.manual_clock.advance(minutes=10)
    for _ in range(2):
        await read(client)
    last = (await rows_of_write(world))[2:]
    assert [(row.event, row.reason) for row in last] == [
        (event, f"settled later: the cloud {verb} it")
    ]
