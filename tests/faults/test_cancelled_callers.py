"""A cancelled call: an unsent write is not sent; a sent write is completed and recorded."""

import asyncio
import itertools
from contextlib import suppress

import anyio
import pytest
from mcp import Client

from tests.conftest import ERAS
from tests.faults.faults import (
    ConnectionRefused,
    ConnectionReset,
    Delay,
    ErrorStatus,
    Fault,
    NoAnswer,
)
from tests.faults.helpers import TOOLS, commit_arguments, let_cancellation_arrive, under
from tests.faults.transport import Exchange, do_nothing
from tests.faults.world import FaultyWorld

pytestmark = [pytest.mark.one_era, pytest.mark.no_cover]

READS_BEFORE_A_WRITE = 2
"""At least the target, and its siblings or the name check."""


async def cancel_at(
    world: FaultyWorld, client: Client, tool: str, arguments: dict[str, object], request: int
) -> None:
    """Call a tool and cancel it when its nth request is about to be sent."""
    numbers = itertools.count(1)
    with anyio.CancelScope() as scope:

        async def cancel(_: Exchange) -> None:
            if next(numbers) == request:
                scope.deadline = anyio.current_time()
                await let_cancellation_arrive()

        world.on_request = cancel
        await client.call_tool(tool, arguments)
    await world.wait_until_settled()


async def cancel_at_the_write(
    world: FaultyWorld, client: Client, tool: str, arguments: dict[str, object]
) -> None:
    """Call a tool and cancel it when its write is about to be sent."""
    with anyio.CancelScope() as scope:

        async def cancel(exchange: Exchange) -> None:
            if exchange.writing:
                scope.deadline = anyio.current_time()
                await let_cancellation_arrive()

        world.on_request = cancel
        await client.call_tool(tool, arguments)
    await world.wait_until_settled()


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.sampled(2)
async def test_cancelling_at_any_request_before_the_write_sends_nothing(
    world: FaultyWorld, client: Client, tool: str
) -> None:
    reads = 0
    while reads < 100:
        await cancel_at(world, client, tool, await commit_arguments(client, tool), reads + 1)
        if world.log.writes:
            break
        assert world.changes == []
        assert world.events == []
        reads += 1
    assert reads >= READS_BEFORE_A_WRITE
    assert len(world.log.writes) == len(world.changes) == 1
    assert world.events == ["sent", "done"]


@under(
    [
        ConnectionReset("before"),
        ConnectionReset("never"),
        ConnectionReset("late", 5),
        NoAnswer("before"),
        Delay(3),
        ErrorStatus(500, "before"),
        Fault(),
    ]
)
@pytest.mark.sampled(3)
async def test_cancelling_after_the_write_was_sent_completes_and_records_it(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault]
    await cancel_at_the_write(world, client, tool, arguments)
    happened = fault != ConnectionReset("never")
    assert world.events == ["sent", "done" if happened else "unknown"]
    sent = len(world.log.exchanges)
    await let_cancellation_arrive()
    assert len(world.log.exchanges) == sent
    await world.log.deliver_delayed()
    assert len(world.log.writes) == 1
    assert len(world.changes) == int(happened)


@under([ErrorStatus(429), ConnectionRefused()])
async def test_cancelling_while_the_cloud_does_not_accept_the_write_stops_the_retries(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault] * 100
    await cancel_at_the_write(world, client, tool, arguments)
    assert len(world.log.writes) == 1
    assert world.changes == []
    assert world.events == ["sent", "failed"]


@under([ErrorStatus(429, retry_after="86400"), ErrorStatus(401), ErrorStatus(409)])
async def test_cancelling_while_the_cloud_refuses_still_records_the_failure(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault]
    await cancel_at_the_write(world, client, tool, arguments)
    assert world.changes == []
    assert world.events == ["sent", "failed"]


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_ended_process_leaves_a_write_open_while_it_looks_for_the_effect(
    world: FaultyWorld, tool: str
) -> None:
    """At the end of a process, asyncio cancels its tasks, and no scope shields them."""

    async def end_the_task(exchange: Exchange) -> None:
        is_lookup = world.log.writes and not exchange.writing
        if is_lookup and (task := asyncio.current_task()):
            task.cancel()
            await asyncio.sleep(0)

    with suppress(BaseExceptionGroup), anyio.move_on_after(2):
        async with world.client(ERAS[0]) as client:
            arguments = await commit_arguments(client, tool)
            world.plan.writes = [ConnectionReset("late", 20)]
            world.on_request = end_the_task
            await client.call_tool(tool, arguments)
    world.on_request = do_nothing
    assert world.events == ["sent"]
    async with world.client(ERAS[0]) as client:
        assert world.events == ["sent"]
        world.clock.advance(seconds=30)
        await client.call_tool("list_snapshots", {"limit": 1})
    assert world.events == ["sent", "done"]
    assert len(world.log.writes) == 1
