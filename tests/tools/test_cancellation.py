"""A cancelled call: nothing more is sent; what was sent is completed and recorded."""

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from mcp import Client

from tests.conftest import ERAS, World, call_tool
from tests.tools.helpers import creation_arguments
from tests.waiting import ANSWER_TIMEOUT_SECONDS


async def wait_for_events(world: World, wanted: int) -> list[str]:
    """Return the events of the ledger once it has the wanted number of rows."""
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while len(rows := await world.attempts()) < wanted:
            await checkpoint()
    return [row.event for row in rows]


async def cancel_while(
    client: Client, arguments: dict[str, object], reached: anyio.Event, release: anyio.Event
) -> None:
    """Call create_snapshot, cancel it when `reached` is set, then set `release`."""
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def call() -> None:
            with scope:
                await client.call_tool("create_snapshot", arguments)

        tasks.start_soon(call)
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            await reached.wait()
        scope.cancel()
        await checkpoint()
        release.set()


@pytest.mark.parametrize("mode", ERAS)
async def test_cancelling_while_waiting_sends_nothing_more(world: World, mode: str) -> None:
    poll_started, never = anyio.Event(), anyio.Event()

    async def hang_on_poll(request: httpx.Request) -> httpx.Response | None:
        if world.writes and request.method == "GET":
            poll_started.set()
            await never.wait()
        return None

    async with world.client(mode) as client:
        arguments = await creation_arguments(client)
        world.fail(hang_on_poll)
        await cancel_while(client, arguments | {"wait_seconds": 300}, poll_started, anyio.Event())
        world.fail(None)
        sent = len(world.requests)
        assert await wait_for_events(world, 2) == ["sent", "done"]
        for _ in range(50):
            await checkpoint()
        assert len(world.requests) == sent
        page = await call_tool(client, "list_snapshots", search="before-upgrade-x")
        assert page["total"] == 1


@pytest.mark.parametrize("mode", ERAS)
async def test_cancelling_after_a_write_was_sent_still_records_its_end(
    world: World, mode: str
) -> None:
    write_started, release = anyio.Event(), anyio.Event()

    async def hold(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST":
            write_started.set()
            await release.wait()
        return None

    async with world.client(mode) as client:
        arguments = await creation_arguments(client)
        world.fail(hold)
        await cancel_while(client, arguments, write_started, release)
        assert await wait_for_events(world, 2) == ["sent", "done"]
        assert len(world.writes) == 1
        page = await call_tool(client, "list_snapshots", search="before-upgrade-x")
        assert page["total"] == 1


@pytest.mark.parametrize("mode", ERAS)
async def test_cancelling_while_a_write_that_was_not_accepted_is_checked_again_sends_nothing(
    world: World, mode: str
) -> None:
    check_started, never = anyio.Event(), anyio.Event()

    async def refuse_and_hold(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST":
            return httpx.Response(429, json={"status": False}, request=request)
        if world.writes:
            check_started.set()
            await never.wait()
        return None

    async with world.client(mode) as client:
        arguments = await creation_arguments(client)
        world.fail(refuse_and_hold)
        await cancel_while(client, arguments, check_started, anyio.Event())
        assert await wait_for_events(world, 2) == ["sent", "failed"]
        assert (await world.attempts())[-1].reason == "cancelled"
        assert len(world.writes) == 1
