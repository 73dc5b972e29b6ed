"""Subscriptions: clients of both eras are notified of every change, and of nothing else."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import httpx
import pytest
from mcp import Client
from mcp.server.connection import Connection
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import INVALID_PARAMS, ResourceUpdatedNotification

from snapshot_mcp.mcp_server import subscriptions as updates
from snapshot_mcp.mcp_server.app import create_server
from tests.conftest import World, call_tool
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{MCPDeprecationWarning.__module__}.{MCPDeprecationWarning.__name__}"
)
OTHERS = ["snapshot://1701", "vm://1/snapshots", "snapshot://policy"]
Notifications = list[str]


async def subscribe(client: Client, address: str) -> None:
    """Subscribe as clients did before 2026-07-28."""
    await client.subscribe_resource(address)  # pyright: ignore[reportDeprecated] - of that era


async def unsubscribe(client: Client, address: str) -> None:
    await client.unsubscribe_resource(address)  # pyright: ignore[reportDeprecated] - of that era


@asynccontextmanager
async def subscribed_client(
    world: World, mode: str, *addresses: str
) -> AsyncGenerator[tuple[Client, Notifications]]:
    """Yield a client that is subscribed to these addresses, and the notifications it receives."""
    received: Notifications = []

    async def handle_legacy(message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            received.append(message.params.uri)

    server = create_server(world.settings, clock=world.manual_clock.clock, connect=world.connect)
    if mode == "legacy":
        async with Client(server, mode=mode, message_handler=handle_legacy) as client:
            for address in addresses:
                await subscribe(client, address)
            yield client, received
        return
    async with Client(server, mode=mode) as client:
        wanted = list(addresses)
        async with (
            anyio.create_task_group() as group,
            client.listen(resource_subscriptions=wanted) as events,
        ):

            async def read_events() -> None:
                async for event in events:
                    assert isinstance(event, ResourceUpdated)
                    received.append(event.uri)

            group.start_soon(read_events)
            yield client, received
            group.cancel_scope.cancel()


async def wait_for_all(received: Notifications) -> Notifications:
    """Return the received notifications when no more are on their way, and clear them."""
    await anyio.wait_all_tasks_blocked()
    addresses_received = list(received)
    received.clear()
    return addresses_received


@pytest.fixture(params=["legacy", "2026-07-28"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


async def next_id(world: World) -> int:
    async with world.client() as client:
        page = await call_tool(client, "list_snapshots", limit=100)
    return max(snapshot["id"] for snapshot in page["snapshots"]) + 1


async def test_a_new_snapshot_is_announced_when_requested_and_when_ready(
    world: World, mode: str
) -> None:
    async with world.client() as other:
        wanted = await creation_arguments(other)
    snapshot, vm = f"snapshot://{await next_id(world)}", f"vm://{wanted['vm_id']}/snapshots"
    async with subscribed_client(world, mode, snapshot, vm, *OTHERS) as (client, received):
        before = len(world.requests)
        result = await call_tool(client, "create_snapshot", **wanted, wait_seconds=60)
        assert (result["outcome"], result["snapshot"]["id"]) == (
            "created",
            int(snapshot.rpartition("/")[2]),
        )
        polls = [
            request
            for request in world.requests[before:]
            if request.url.path.endswith(snapshot[11:])
        ]
        assert len(polls) > 3
        addresses_received = await wait_for_all(received)
    # In the era 2026-07-28, equal events that were not read yet are merged into one.
    assert addresses_received == [snapshot, vm, snapshot, vm]


async def test_a_snapshot_that_is_not_waited_for_is_announced_once(world: World, mode: str) -> None:
    async with world.client() as other:
        wanted = await creation_arguments(other)
    vm = f"vm://{wanted['vm_id']}/snapshots"
    async with subscribed_client(world, mode, vm) as (client, received):
        await call_tool(client, "create_snapshot", **wanted, wait_seconds=0)
        assert await wait_for_all(received) == [vm]


async def test_a_deletion_is_announced_when_seen_and_a_plan_is_not(world: World, mode: str) -> None:
    async with world.client() as other:
        target = await ready_snapshot(other)
    addresses = [f"snapshot://{target['id']}", f"vm://{target['vm_id']}/snapshots"]
    async with subscribed_client(world, mode, *addresses, *OTHERS) as (client, received):
        commit, _ = await make_plan(client, "delete_snapshot", target)
        assert await wait_for_all(received) == []
        assert (await call_tool(client, "delete_snapshot", **commit))["outcome"] == "deleted"
        assert await wait_for_all(received) == addresses


async def test_each_deletion_of_a_batch_is_announced(world: World, mode: str) -> None:
    async with world.client() as other:
        plan = await call_tool(other, "plan_retention", keep_last=1, limit=100)
    deleted_ids = [decision["id"] for decision in plan["decisions"] if not decision["keep"]]
    assert len(deleted_ids) > 1
    kept_id = next(decision["id"] for decision in plan["decisions"] if decision["keep"])
    addresses = [f"snapshot://{number}" for number in [*deleted_ids, kept_id]]
    async with subscribed_client(world, mode, *addresses) as (client, received):
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        report = await call_tool(client, "apply_retention", **commit)
        assert [snapshot["id"] for snapshot in report["deleted"]] == deleted_ids
        assert await wait_for_all(received) == addresses[:-1]


async def test_reads_refusals_and_restores_are_not_announced(world: World, mode: str) -> None:
    async with world.client() as other:
        wanted, target = await creation_arguments(other), await ready_snapshot(other)
    addresses = [f"snapshot://{target['id']}", f"vm://{target['vm_id']}/snapshots"]
    addresses.append(f"vm://{wanted['vm_id']}/snapshots")
    async with subscribed_client(world, mode, *addresses) as (client, received):
        await client.read_resource(addresses[0])
        refusal = await client.call_tool(
            "create_snapshot", wanted | {"name": target["name"], "wait_seconds": 60}
        )
        assert refusal.is_error
        commit, _ = await make_plan(client, "restore_snapshot", target)
        restored = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
        assert restored["outcome"] == "restored"
        assert await wait_for_all(received) == []


async def test_a_write_that_the_cloud_refuses_is_not_announced(world: World, mode: str) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return None if request.method == "GET" else httpx.Response(409, json={"status": False})

    async with world.client() as other:
        wanted = await creation_arguments(other)
    async with subscribed_client(world, mode, f"vm://{wanted['vm_id']}/snapshots") as (
        client,
        received,
    ):
        world.fail(refuse)
        assert (await client.call_tool("create_snapshot", wanted)).is_error
        assert await wait_for_all(received) == []


async def test_a_client_that_unsubscribes_or_leaves_is_not_notified(world: World) -> None:
    server = create_server(world.settings, clock=world.manual_clock.clock, connect=world.connect)
    entry = server.get_request_handler("resources/subscribe")
    bus = cast("Any", entry).handler.__self__
    assert isinstance(bus, updates.Subscriptions)
    received: Notifications = []

    async def handle_message(message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            received.append(message.params.uri)

    async with Client(server, mode="legacy") as acting:
        wanted = await creation_arguments(acting)
        vm = f"vm://{wanted['vm_id']}/snapshots"
        async with Client(server, mode="legacy", message_handler=handle_message) as stays:
            async with Client(server, mode="legacy", message_handler=handle_message) as leaves:
                await subscribe(leaves, vm)
                assert len(bus._legacy) == 1  # pyright: ignore[reportPrivateUsage]
            assert not bus._legacy  # pyright: ignore[reportPrivateUsage]
            await subscribe(stays, vm)
            await subscribe(stays, vm)
            await call_tool(acting, "create_snapshot", **wanted, wait_seconds=0)
            assert await wait_for_all(received) == [vm]
            await unsubscribe(stays, vm)
            await unsubscribe(stays, vm)
            await unsubscribe(stays, "snapshot://7")
            assert (await call_tool(acting, "inspect_snapshot", snapshot_id=1701))[
                "state"
            ] == "ready"
            target = await ready_snapshot(acting)
            await subscribe(stays, f"snapshot://{target['id']}")
            commit, _ = await make_plan(acting, "delete_snapshot", target)
            await call_tool(acting, "delete_snapshot", **commit)
            assert await wait_for_all(received) == [f"snapshot://{target['id']}"]


@pytest.mark.parametrize(
    "address", ["", "snapshot://", "snapshot://0", "snapshot://x", "vm://1", "file:///etc/passwd"]
)
async def test_only_addresses_of_the_server_can_be_subscribed_to(
    world: World, address: str
) -> None:
    async with world.client("legacy") as client:
        with pytest.raises(MCPError, match="can be subscribed to") as caught:
            await subscribe(client, address)
    assert caught.value.error.code == INVALID_PARAMS


async def test_the_subscriptions_of_one_client_are_limited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "MAX_SUBSCRIPTIONS", 2)
    async with world.client("legacy") as client:
        for number in (1, 2, 2):
            await subscribe(client, f"snapshot://{number}")
        with pytest.raises(MCPError, match="can subscribe to 2 addresses"):
            await subscribe(client, "snapshot://3")
        await unsubscribe(client, "snapshot://1")
        await subscribe(client, "snapshot://3")


async def hang(_: object, __: str) -> None:
    await anyio.sleep_forever()


async def raises(_: object, __: str) -> None:
    raise RuntimeError("SECRET")


@pytest.mark.parametrize("notify", [hang, raises])
async def test_a_subscriber_that_cannot_be_notified_delays_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, notify: Callable[..., Any]
) -> None:
    monkeypatch.setattr(updates, "NOTIFY_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(Connection, "send_resource_updated", notify)
    async with world.client("legacy") as client:
        wanted = await creation_arguments(client)
        await subscribe(client, f"vm://{wanted['vm_id']}/snapshots")
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            result = await call_tool(client, "create_snapshot", **wanted, wait_seconds=60)
    assert result["outcome"] == "created"
    assert [row.event for row in await world.attempts()] == ["sent", "done"]


async def test_both_eras_declare_that_resources_can_be_subscribed_to(
    world: World, mode: str
) -> None:
    server = create_server(world.settings)
    version = None if mode == "legacy" else mode
    capabilities = server.get_capabilities(protocol_version=version)
    assert capabilities.resources is not None
    assert capabilities.resources.subscribe is True
    assert capabilities.completions is not None
