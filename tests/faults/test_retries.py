"""Requests that were not accepted are repeated; an outage is reported immediately."""

from typing import Any

import httpx
import pytest
from mcp import Client

from snapshot_mcp.cloud.circuit_breaker import FAILURE_THRESHOLD, MIN_OPEN_SECONDS
from snapshot_mcp.cloud.retry import MAX_ATTEMPTS
from tests.conftest import call_tool, result_text
from tests.faults.faults import ConnectionRefused, ConnectionReset, ErrorStatus, Fault
from tests.faults.helpers import HAPPENED, TOOLS, commit_arguments, under
from tests.faults.transport import Exchange
from tests.faults.world import FaultyWorld

pytestmark = [pytest.mark.one_era, pytest.mark.no_cover]

NOT_ACCEPTED = [
    ErrorStatus(429),
    ConnectionRefused(),
    ConnectionRefused(httpx.ConnectTimeout),
    ConnectionRefused(httpx.PoolTimeout),
    ErrorStatus(429, retry_after="soon"),
    ErrorStatus(429, retry_after="-3"),
]
READS: dict[str, dict[str, Any]] = {"list_snapshots": {}, "inspect_snapshot": {"snapshot_id": 1701}}
TRANSIENT = [
    ConnectionReset("never"),
    ConnectionReset("never", error=httpx.RemoteProtocolError),
    ConnectionRefused(),
    ErrorStatus(429),
    ErrorStatus(408),
    ErrorStatus(500),
    ErrorStatus(502),
    ErrorStatus(503),
    ErrorStatus(504),
    ErrorStatus(520),
    ErrorStatus(599),
]


@under(NOT_ACCEPTED)
@pytest.mark.sampled(3)
async def test_a_write_that_was_not_accepted_is_repeated_and_done_once(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault, fault]
    result = await call_tool(client, tool, **arguments)
    assert result["outcome"] == HAPPENED[tool]
    assert [len(write.deliveries) for write in world.log.writes] == [0, 0, 1]
    assert len(world.changes) == 1
    assert world.events == ["sent", "done"]


@under([ErrorStatus(429), ConnectionRefused()])
async def test_a_write_that_is_never_accepted_fails(
    world: FaultyWorld, client: Client, tool: str, fault: Fault
) -> None:
    arguments = await commit_arguments(client, tool)
    world.plan.writes = [fault] * 100
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert "Nothing was changed." in result_text(result)
    assert 1 < len(world.log.writes) < 10
    assert world.changes == []
    assert world.events == ["sent", "failed"]


@pytest.mark.parametrize("fault", TRANSIENT, ids=repr)
@pytest.mark.sampled(3)
async def test_a_read_is_repeated_after_a_transient_failure(
    world: FaultyWorld, client: Client, fault: Fault
) -> None:
    for tool, arguments in READS.items():
        world.plan.reads = [fault, fault]
        await call_tool(client, tool, **arguments)
    assert sum(exchange.fault == fault for exchange in world.log.exchanges) == 4


@pytest.mark.parametrize("retry_after", ["9", "+9"])
@pytest.mark.parametrize("tool", [*TOOLS, "list_snapshots"])
@pytest.mark.sampled(3)
async def test_no_request_is_sent_before_the_cloud_allows_it(
    world: FaultyWorld, client: Client, tool: str, retry_after: str
) -> None:
    arguments = {} if tool == "list_snapshots" else await commit_arguments(client, tool)
    busy = ErrorStatus(429, retry_after=retry_after)
    (world.plan.writes if arguments else world.plan.reads).append(busy)
    sent_at: list[float] = []

    async def note(exchange: Exchange) -> None:
        if sent_at or exchange.fault == busy:
            sent_at.append(world.clock.monotonic())

    world.on_request = note
    await call_tool(client, tool, **arguments)
    # A date has whole seconds only.
    assert (
        8 < sent_at[1] - sent_at[0] < 18
        if retry_after == "+9"
        else 9 <= sent_at[1] - sent_at[0] < 18
    )
    assert world.events == (["sent", "done"] if arguments else [])


@pytest.mark.parametrize("retry_after", ["3600", "+3600"])
@pytest.mark.parametrize("tool", [*TOOLS, "list_snapshots"])
async def test_a_wait_that_is_too_long_is_reported_instead_of_started(
    world: FaultyWorld, client: Client, tool: str, retry_after: str
) -> None:
    arguments = {} if tool == "list_snapshots" else await commit_arguments(client, tool)
    busy = ErrorStatus(429, retry_after=retry_after)
    (world.plan.writes if arguments else world.plan.reads).append(busy)
    started, sent = world.clock.monotonic(), len(world.log.exchanges)
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is not None
    assert result.structured_content["retry_after"] == pytest.approx(3600, abs=1)
    assert "Nothing was changed." in result_text(result)
    assert world.clock.monotonic() - started < 1
    assert len([exchange for exchange in world.log.exchanges[sent:] if exchange.fault == busy]) == 1
    assert world.changes == []
    assert world.events == (["sent", "failed"] if arguments else [])


async def take_cloud_down(world: FaultyWorld, client: Client, fault: Fault) -> None:
    """Let the cloud fail until the circuit breaker opens."""
    world.plan.always = fault
    for _ in range(FAILURE_THRESHOLD):
        assert (await client.call_tool("list_virtual_machines", {})).is_error


@pytest.mark.parametrize(
    "fault",
    [ConnectionRefused(), ConnectionReset("never"), ErrorStatus(503), ErrorStatus(500)],
    ids=repr,
)
async def test_calls_fail_fast_while_the_cloud_is_down_and_say_since_when(
    world: FaultyWorld, client: Client, fault: Fault
) -> None:
    is_server_error = isinstance(fault, ErrorStatus)
    # The retries of a server error take some seconds.
    precision = "%Y-%m-%d %H:%M" if is_server_error else "%Y-%m-%d %H:%M:%S UTC"
    since = format(world.clock.now(), precision)
    await take_cloud_down(world, client, fault)
    started, sent = world.clock.monotonic(), len(world.log.exchanges)
    # A server error counts only after its retries.
    assert sent == FAILURE_THRESHOLD * (MAX_ATTEMPTS if is_server_error else 1)
    for tool, arguments in {**READS, "create_snapshot": {"vm_id": 793_701, "name": "x"}}.items():
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        assert f"has not answered since {since}" in result_text(result)
        assert "Nothing was changed." in result_text(result)
        assert result.structured_content is not None
        assert 0 < result.structured_content["retry_after"] <= MIN_OPEN_SECONDS
    assert world.clock.monotonic() == started
    assert len(world.log.exchanges) == sent
    assert world.events == []


async def test_after_a_pause_one_request_probes_the_cloud_and_service_resumes(
    world: FaultyWorld, client: Client
) -> None:
    await take_cloud_down(world, client, ConnectionRefused())
    world.clock.advance(seconds=MIN_OPEN_SECONDS)
    assert (await client.call_tool("list_snapshots", {})).is_error
    assert len(world.log.exchanges) == FAILURE_THRESHOLD + 1
    assert (await client.call_tool("list_snapshots", {})).is_error
    assert len(world.log.exchanges) == FAILURE_THRESHOLD + 1
    world.plan.always = None
    world.clock.advance(seconds=2 * MIN_OPEN_SECONDS)
    assert (await call_tool(client, "list_snapshots"))["total"] > 0
    assert (await call_tool(client, "list_virtual_machines"))["total"] > 0


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_outage_before_the_write_leaves_it_unsent(
    world: FaultyWorld, client: Client, tool: str
) -> None:
    arguments = await commit_arguments(client, tool)
    sent = len(world.log.exchanges)
    world.plan.always = ConnectionRefused()
    text = result_text(await client.call_tool(tool, arguments))
    assert "Nothing was changed." in text
    assert len(world.log.exchanges) > sent
    assert world.log.writes == []
    assert world.changes == []
    assert world.events == []
