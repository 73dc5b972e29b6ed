"""Turns between principals over HTTP: changes that wait, and shares of the cloud's rate limit."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from snapshot_mcp.cloud import scheduler
from snapshot_mcp.cloud.rate_limit import LocalRateLimiter
from snapshot_mcp.consent import change_queue
from tests.conftest import World
from tests.service.team import ALICE, BOB, Team, team_of
from tests.waiting import ANSWER_TIMEOUT_SECONDS

WAITING, REFUSED = 6, 5


@pytest.fixture
async def team(world: World) -> AsyncGenerator[Team]:
    async with team_of(world) as team:
        yield team


async def free_vms(team: Team) -> list[int]:
    result = await team.call_tool(BOB, "list_virtual_machines", limit=100)
    vms = result["structuredContent"]["virtual_machines"]
    return [vm["id"] for vm in vms if vm["can_snapshot"]]


async def create(team: Team, token: str, vm: int, name: str) -> dict[str, Any]:
    return await team.call_tool(
        token, "create_snapshot", vm_id=vm, name=name, allow_interruption=True, wait_seconds=0
    )


async def test_changes_of_one_principal_do_not_delay_those_of_another(
    world: World, monkeypatch: pytest.MonkeyPatch, team: Team
) -> None:
    monkeypatch.setattr(change_queue, "MAX_WAITING_CHANGES", WAITING)
    vms = await free_vms(team)
    first_sent, refused_all, release = anyio.Event(), anyio.Event(), anyio.Event()
    refused, sent = list[dict[str, Any]](), list[str]()

    async def hold(request: httpx.Request) -> None:
        if request.method == "POST":
            sent.append("bob" if b"of-bob" in request.content else "alice")
            first_sent.set()
            await release.wait()

    async def create_of_alice(number: int) -> None:
        result = await create(team, ALICE, vms[number % (len(vms) - 1)], f"of-alice-{number}")
        if not release.is_set():
            refused.append(result)
            if len(refused) == REFUSED:
                refused_all.set()

    world.fail(hold)
    bobs: dict[str, Any] = {}
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            for place in range(1 + WAITING + REFUSED):
                group.start_soon(create_of_alice, place)
            await first_sent.wait()
            await refused_all.wait()
            # One is in progress, some wait, and the others were refused without a request.
            assert sent == ["alice"]
            release.set()
            bobs |= await create(team, BOB, vms[-1], "of-bob")
    assert bobs["structuredContent"]["outcome"] in {"created", "pending"}
    assert sent.index("bob") < WAITING
    for result in refused:
        text = result["content"][0]["text"]
        assert f"{WAITING} changes of yours are already waiting" in text
        assert "Nothing was changed." in text
        assert result["structuredContent"]["retry_after"] > 0
    assert sent.count("alice") <= 1 + WAITING


async def test_one_principal_cannot_use_up_the_requests_of_a_minute(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(LocalRateLimiter, requests_per_minute=48, reserved_for_writes=8)
    monkeypatch.setattr(scheduler, "LocalRateLimiter", small)
    async with team_of(world) as team:
        vm = (await free_vms(team))[0]
        now = world.manual_clock.monotonic

        async def count_reads_without_waiting(token: str, most: int) -> int:
            for number in range(most):
                started = now()
                result = await team.call_tool(token, "list_virtual_machines")
                assert not result.get("isError"), result
                if now() > started:
                    return number
            return most

        share = await count_reads_without_waiting(ALICE, 48)
        assert 5 <= share <= 20
        world.manual_clock.advance(seconds=61)
        assert await count_reads_without_waiting(ALICE, share) == share
        change = await create(team, ALICE, vm, "of-alice")
        assert "Your share of the requests per minute to the cloud is used up." in str(change)
        assert "Nothing was changed." in str(change)
        assert 0 < change["structuredContent"]["retry_after"] <= 60
        # Another principal reads and changes without waiting.
        started = now()
        assert await count_reads_without_waiting(BOB, 5) == 5
        created = await create(team, BOB, vm, "of-bob")
        assert created["structuredContent"]["outcome"] in {"created", "pending"}
        assert now() == started


async def test_a_change_that_waits_too_long_is_refused(
    world: World, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms, first_sent, release = await free_vms(team), anyio.Event(), anyio.Event()

    async def hold(request: httpx.Request) -> None:
        if request.method == "POST":
            first_sent.set()
            await release.wait()

    world.fail(hold)
    async with anyio.create_task_group() as group:
        group.start_soon(create, team, ALICE, vms[0], "first")
        await first_sent.wait()
        monkeypatch.setattr(change_queue, "_TIMEOUT_SECONDS", 0.01)
        refused = await create(team, BOB, vms[1], "second")
        assert "Another change is in progress" in str(refused)
        release.set()
