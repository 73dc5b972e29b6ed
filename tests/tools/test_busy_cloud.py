"""A cloud that is busy, fails once, or refuses: what callers wait for, and what they read."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

import anyio
import httpx
import pytest
from mcp import Client

from snapshot_mcp.cloud.retry import MAX_RATE_LIMIT_ATTEMPTS, RATE_LIMIT_TIMEOUT_SECONDS
from tests.conftest import World, call_tool, call_tool_error, result_text
from tests.tools.helpers import add_old_snapshots, make_retention_plan, ready_snapshot

pytestmark = pytest.mark.one_era

Applies = Callable[[httpx.Request], bool]


def is_write(request: httpx.Request) -> bool:
    return request.method != "GET"


def is_any(_request: httpx.Request) -> bool:
    return True


def block(world: World, seconds: float, applies: Applies, **headers: str) -> list[datetime]:
    """Answer 429 for some seconds from the first request on; return when each request came."""
    arrivals: list[datetime] = []

    async def answer(request: httpx.Request) -> httpx.Response | None:
        if not applies(request):
            return None
        now = world.manual_clock.now()
        arrivals.append(now)
        if now - arrivals[0] < timedelta(seconds=seconds):
            return httpx.Response(429, json={"message": "Too Many Requests"}, headers=headers)
        return None

    world.fail(answer)
    return arrivals


def fail_once(world: World, status: int, applies: Applies) -> None:
    """Answer the first request that applies with a status."""
    left = 1

    async def answer(request: httpx.Request) -> httpx.Response | None:
        nonlocal left
        if not applies(request) or not left:
            return None
        left -= 1
        return httpx.Response(status, json={"message": "Internal Server Error"})

    world.fail(answer)


@pytest.mark.parametrize("seconds", [1, 20, 45, 60])
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("list_snapshots", {}), ("list_virtual_machines", {}), ("review_snapshots", {})],
)
@pytest.mark.sampled(5)
async def test_a_read_survives_a_block_of_up_to_a_minute(
    world: World, client: Client, seconds: int, tool: str, arguments: dict[str, object]
) -> None:
    arrivals = block(world, seconds, is_any)
    started = world.manual_clock.now()
    await call_tool(client, tool, **arguments)
    refused = [time for time in arrivals if time - started < timedelta(seconds=seconds)]
    # Several requests may be under way at the start of the block and after each pause.
    assert len(set(refused)) < MAX_RATE_LIMIT_ATTEMPTS
    assert (world.manual_clock.now() - started).total_seconds() <= RATE_LIMIT_TIMEOUT_SECONDS + 5


@pytest.mark.parametrize("seconds", [1, 20, 55])
async def test_a_write_survives_a_block_and_is_done_once(
    world: World, client: Client, seconds: int
) -> None:
    vm_id = (await ready_snapshot(client))["vm_id"]
    arrivals = block(world, seconds, is_write)
    result = await client.call_tool(
        "create_snapshot",
        {"vm_id": vm_id, "name": "once", "allow_interruption": True, "wait_seconds": 0},
    )
    assert not result.is_error, result_text(result)
    assert 2 <= len(arrivals) <= MAX_RATE_LIMIT_ATTEMPTS
    pauses = [(b - a).total_seconds() for a, b in pairwise(arrivals)]
    assert min(pauses) >= 1
    assert [
        row["name"]
        for row in (await call_tool(client, "list_snapshots", search="once"))["snapshots"]
    ] == ["once"]


async def test_a_block_that_does_not_end_is_reported_with_its_time(
    world: World, client: Client
) -> None:
    arrivals = block(world, 10_000, is_any)
    result = await client.call_tool("list_snapshots", {})
    assert result.is_error
    assert "limit of requests per minute is reached. Nothing was changed." in result_text(result)
    assert result.structured_content is not None
    assert 1 <= result.structured_content["retry_after"] <= 60
    assert len(arrivals) == MAX_RATE_LIMIT_ATTEMPTS
    # Meanwhile no other call sends anything.
    await call_tool_error(client, "inspect_snapshot", snapshot_id=1701)
    assert len(set(arrivals)) <= 2 * MAX_RATE_LIMIT_ATTEMPTS


async def test_one_call_learns_from_the_block_of_another(world: World, client: Client) -> None:
    arrivals = block(world, 25, is_any)
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(client.call_tool, "list_snapshots")
    assert len(arrivals) < 6 * 4


@pytest.mark.parametrize("status", [500, 502, 503, 520, 524, 599])
@pytest.mark.parametrize("page", ["1", "2", "3"])
@pytest.mark.sampled(5)
async def test_a_single_server_error_does_not_fail_a_plan(
    world: World, client: Client, status: int, page: str
) -> None:
    await add_old_snapshots(world, client, 250)
    fail_once(world, status, lambda request: request.url.params.get("page") == page)
    plan = await call_tool(client, "plan_retention", keep_last=1, limit=100)
    assert plan["total"] > 250


async def test_server_errors_of_all_pages_at_once_are_no_outage(
    world: World, client: Client
) -> None:
    await add_old_snapshots(world, client, 900)
    seen: set[str] = set()

    async def answer(request: httpx.Request) -> httpx.Response | None:
        if str(request.url) in seen:
            return None
        seen.add(str(request.url))
        return httpx.Response(500)

    world.fail(answer)
    plan = await call_tool(client, "plan_retention", keep_last=1, limit=100)
    assert plan["total"] > 900


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (
            400,
            {"message": "Insufficient balance to create the resource"},
            "credit does not cover it. Nothing was changed. Top up",
        ),
        (402, {}, "credit does not cover it. Nothing was changed. Top up"),
        (
            400,
            {"message": "This name is not available"},
            "name is already taken. Nothing was changed. Choose",
        ),
        (
            400,
            {"message": "This feature is currently disabled"},
            "disabled this feature. Nothing was changed.",
        ),
        (
            200,
            {"status": False, "message": "Quota exceeded"},
            "quota of the account is used up. Nothing was changed.",
        ),
        (
            400,
            {"errors": {"name": ["Unknown field."]}},
            "does not accept one of the request's fields. Nothing was changed.",
        ),
        (
            400,
            {"message": "R3MOTE-WORDS"},
            "the reason is unknown. Nothing was changed. This server does not",
        ),
    ],
)
async def test_a_refusal_of_a_write_says_why_and_what_to_do(
    world: World, client: Client, status: int, body: dict[str, object], sentence: str
) -> None:
    vm_id = (await ready_snapshot(client))["vm_id"]

    async def answer(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(status, json=body) if is_write(request) else None

    world.fail(answer)
    error = await call_tool_error(
        client, "create_snapshot", vm_id=vm_id, name="new", allow_interruption=True
    )
    assert sentence in error
    assert "R3MOTE" not in error
    assert [row.event for row in await world.attempts()] == ["sent", "failed"]
    world.fail(None)
    assert await make_retention_plan(client, keep_last=1)
