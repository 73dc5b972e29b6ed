"""Who keeps a snapshot in view hears of its changes on both eras: all of them, and no others."""

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
from tests.conftest import World, ask
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{MCPDeprecationWarning.__module__}.{MCPDeprecationWarning.__name__}"
)
OTHERS = ["snapshot://1701", "vm://1/snapshots", "snapshot://policy"]
Heard = list[str]


async def subscribe(client: Client, address: str) -> None:
    """As clients did before 2026-07-28."""
    await client.subscribe_resource(address)  # pyright: ignore[reportDeprecated] - of that era


async def unsubscribe(client: Client, address: str) -> None:
    await client.unsubscribe_resource(address)  # pyright: ignore[reportDeprecated] - of that era


@asynccontextmanager
async def listening(
    world: World, mode: str, *addresses: str
) -> AsyncGenerator[tuple[Client, Heard]]:
    """A client that hears of these addresses in the way of its era."""
    heard: Heard = []

    async def older(message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.append(message.params.uri)

    server = create_server(world.settings, clock=world.turned.clock, connect=world.connect)
    if mode == "legacy":
        async with Client(server, mode=mode, message_handler=older) as client:
            for address in addresses:
                await subscribe(client, address)
            yield client, heard
        return
    async with Client(server, mode=mode) as client:
        wanted = list(addresses)
        async with (
            anyio.create_task_group() as group,
            client.listen(resource_subscriptions=wanted) as events,
        ):

            async def newer() -> None:
                async for event in events:
                    assert isinstance(event, ResourceUpdated)
                    heard.append(event.uri)

            group.start_soon(newer)
            yield client, heard
            group.cancel_scope.cancel()


async def settled(heard: Heard) -> Heard:
    """What was heard, when nothing more is on its way."""
    await anyio.wait_all_tasks_blocked()
    told = list(heard)
    heard.clear()
    return told


@pytest.fixture(params=["legacy", "2026-07-28"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


async def next_id(world: World) -> int:
    async with world.client() as client:
        page = await ask(client, "list_snapshots", limit=100)
    return max(it["id"] for it in page["snapshots"]) + 1


async def test_a_snapshot_is_heard_of_when_it_is_ordered_and_when_it_is_ready(
    world: World, mode: str
) -> None:
    async with world.client() as other:
        wanted = await creation_arguments(other)
    snapshot, vm = f"snapshot://{await next_id(world)}", f"vm://{wanted['vm_id']}/snapshots"
    async with listening(world, mode, snapshot, vm, *OTHERS) as (client, heard):
        before = len(world.requests)
        result = await ask(client, "create_snapshot", **wanted, wait_seconds=60)
        assert (result["outcome"], result["snapshot"]["id"]) == (
            "created",
            int(snapshot.rpartition("/")[2]),
        )
        looks = [it for it in world.requests[before:] if it.url.path.endswith(snapshot[11:])]
        assert len(looks) > 3
        told = await settled(heard)
    # Events of 2026-07-28 that wait to be read collapse into one.
    assert told == [snapshot, vm, snapshot, vm]


async def test_a_snapshot_that_is_not_waited_for_is_heard_of_once(world: World, mode: str) -> None:
    async with world.client() as other:
        wanted = await creation_arguments(other)
    vm = f"vm://{wanted['vm_id']}/snapshots"
    async with listening(world, mode, vm) as (client, heard):
        await ask(client, "create_snapshot", **wanted, wait_seconds=0)
        assert await settled(heard) == [vm]


async def test_a_deletion_is_heard_of_when_it_is_seen_and_a_plan_is_not(
    world: World, mode: str
) -> None:
    async with world.client() as other:
        target = await ready_snapshot(other)
    addresses = [f"snapshot://{target['id']}", f"vm://{target['vm_id']}/snapshots"]
    async with listening(world, mode, *addresses, *OTHERS) as (client, heard):
        commit, _ = await make_plan(client, "delete_snapshot", target)
        assert await settled(heard) == []
        assert (await ask(client, "delete_snapshot", **commit))["outcome"] == "deleted"
        assert await settled(heard) == addresses


async def test_each_deletion_of_a_batch_is_heard_of_when_it_is_seen(
    world: World, mode: str
) -> None:
    async with world.client() as other:
        plan = await ask(other, "plan_retention", keep_last=1, limit=100)
    going = [it["id"] for it in plan["decisions"] if not it["keep"]]
    assert len(going) > 1
    staying = next(it["id"] for it in plan["decisions"] if it["keep"])
    addresses = [f"snapshot://{number}" for number in [*going, staying]]
    async with listening(world, mode, *addresses) as (client, heard):
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        report = await ask(client, "apply_retention", **commit)
        assert [it["id"] for it in report["deleted"]] == going
        assert await settled(heard) == addresses[:-1]


async def test_reading_refusals_and_restores_are_not_heard_of(world: World, mode: str) -> None:
    async with world.client() as other:
        wanted, target = await creation_arguments(other), await ready_snapshot(other)
    addresses = [f"snapshot://{target['id']}", f"vm://{target['vm_id']}/snapshots"]
    addresses.append(f"vm://{wanted['vm_id']}/snapshots")
    async with listening(world, mode, *addresses) as (client, heard):
        await client.read_resource(addresses[0])
        refusal = await client.call_tool(
            "create_snapshot", wanted | {"name": target["name"], "wait_seconds": 60}
        )
        assert refusal.is_error
        commit, _ = await make_plan(client, "restore_snapshot", target)
        restored = await ask(client, "restore_snapshot", **commit, wait_seconds=60)
        assert restored["outcome"] == "restored"
        assert await settled(heard) == []


async def test_a_write_that_the_cloud_refuses_is_not_heard_of(world: World, mode: str) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return None if request.method == "GET" else httpx.Response(409, json={"status": False})

    async with world.client() as other:
        wanted = await creation_arguments(other)
    async with listening(world, mode, f"vm://{wanted['vm_id']}/snapshots") as (client, heard):
        world.fail(refuse)
        assert (await client.call_tool("create_snapshot", wanted)).is_error
        assert await settled(heard) == []


async def test_whoever_unsubscribes_or_leaves_hears_no_more(world: World) -> None:
    server = create_server(world.settings, clock=world.turned.clock, connect=world.connect)
    entry = server.get_request_handler("resources/subscribe")
    bus = cast("Any", entry).handler.__self__
    assert isinstance(bus, updates.Subscriptions)
    heard: Heard = []

    async def note(message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.append(message.params.uri)

    async with Client(server, mode="legacy") as acting:
        wanted = await creation_arguments(acting)
        vm = f"vm://{wanted['vm_id']}/snapshots"
        async with Client(server, mode="legacy", message_handler=note) as stays:
            async with Client(server, mode="legacy", message_handler=note) as leaves:
                await subscribe(leaves, vm)
                assert len(bus._legacy) == 1  # pyright: ignore[reportPrivateUsage]
            assert not bus._legacy  # pyright: ignore[reportPrivateUsage]
            await subscribe(stays, vm)
            await subscribe(stays, vm)
            await ask(acting, "create_snapshot", **wanted, wait_seconds=0)
            assert await settled(heard) == [vm]
            await unsubscribe(stays, vm)
            await unsubscribe(stays, vm)
            await unsubscribe(stays, "snapshot://7")
            assert (await ask(acting, "inspect_snapshot", snapshot_id=1701))["state"] == "ready"
            target = await ready_snapshot(acting)
            await subscribe(stays, f"snapshot://{target['id']}")
            commit, _ = await make_plan(acting, "delete_snapshot", target)
            await ask(acting, "delete_snapshot", **commit)
            assert await settled(heard) == [f"snapshot://{target['id']}"]


@pytest.mark.parametrize(
    "address", ["", "snapshot://", "snapshot://0", "snapshot://x", "vm://1", "file:///etc/passwd"]
)
async def test_only_our_addresses_can_be_subscribed_to(world: World, address: str) -> None:
    async with world.client("legacy") as client:
        with pytest.raises(MCPError, match="can be subscribed to") as caught:
            await subscribe(client, address)
    assert caught.value.error.code == INVALID_PARAMS


async def test_subscriptions_of_one_client_have_a_cap(
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


async def hangs(_: object, __: str) -> None:
    await anyio.sleep_forever()


async def raises(_: object, __: str) -> None:
    raise RuntimeError("SECRET")


@pytest.mark.parametrize("telling", [hangs, raises])
async def test_a_subscriber_that_cannot_be_told_holds_nothing_up(
    world: World, monkeypatch: pytest.MonkeyPatch, telling: Callable[..., Any]
) -> None:
    monkeypatch.setattr(updates, "NOTIFY_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(Connection, "send_resource_updated", telling)
    async with world.client("legacy") as client:
        wanted = await creation_arguments(client)
        await subscribe(client, f"vm://{wanted['vm_id']}/snapshots")
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            result = await ask(client, "create_snapshot", **wanted, wait_seconds=60)
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
