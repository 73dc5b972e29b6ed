"""Caching: what a client may cache, and what the server caches for display."""

import pytest
from mcp import Client

from snapshot_mcp.mcp_server.app import LIST_CACHE_TTL_MS, READ_CACHE_TTL_MS
from snapshot_mcp.operations.cache import TTL_SECONDS
from tests.conftest import World, call_tool, call_tool_error

PAGE = {"search": "", "limit": 3}


def vm_requests(world: World) -> int:
    """Return the number of requests for a list of VMs."""
    return sum(request.url.path.endswith("/core/virtual-machines") for request in world.requests)


async def test_lists_and_reads_state_their_cache_ttl_and_scope(world: World) -> None:
    async with world.client("2026-07-28") as client:
        lists = [
            await client.list_tools(),
            await client.list_prompts(),
            await client.list_resources(),
            await client.list_resource_templates(),
        ]
        read = await client.read_resource("snapshot://policy")
    assert {(result.ttl_ms, result.cache_scope) for result in lists} == {
        (LIST_CACHE_TTL_MS, "private")
    }
    assert (read.ttl_ms, read.cache_scope) == (READ_CACHE_TTL_MS, "private")


async def test_the_legacy_era_receives_no_cache_fields(world: World) -> None:
    async with world.client("legacy") as client:
        fields = (await client.list_tools()).model_fields_set
    assert not fields & {"ttl_ms", "cache_scope"}


async def test_the_tools_come_in_the_same_order_every_time(client: Client) -> None:
    first, second = [await client.list_tools() for _ in range(2)]
    assert [tool.name for tool in first.tools] == [tool.name for tool in second.tools]


async def test_the_pages_of_one_list_of_vms_cost_one_request(client: Client, world: World) -> None:
    first = await call_tool(client, "list_virtual_machines", **PAGE)
    requests_before = vm_requests(world)
    second = await call_tool(client, "list_virtual_machines", **PAGE, cursor=first["next_cursor"])
    assert vm_requests(world) == requests_before
    ids = [vm["id"] for page in (first, second) for vm in page["virtual_machines"]]
    assert ids == sorted(set(ids))


async def test_an_expired_cache_entry_is_read_again(client: Client, world: World) -> None:
    first = await call_tool(client, "list_virtual_machines", **PAGE)
    requests_before = vm_requests(world)
    world.manual_clock.advance(seconds=TTL_SECONDS)
    await call_tool(client, "list_virtual_machines", **PAGE, cursor=first["next_cursor"])
    assert vm_requests(world) > requests_before


@pytest.mark.parametrize("earlier_calls", [1, 2])
async def test_the_first_page_of_vms_is_never_cached(
    client: Client, world: World, earlier_calls: int
) -> None:
    for _ in range(earlier_calls):
        await call_tool(client, "list_virtual_machines", **PAGE)
    requests_before = vm_requests(world)
    await call_tool(client, "list_virtual_machines", **PAGE)
    assert vm_requests(world) > requests_before


async def test_a_decision_about_a_write_never_uses_the_cache(client: Client, world: World) -> None:
    ready = (await call_tool(client, "list_snapshots", state="ready"))["snapshots"][0]["id"]
    listed = (await call_tool(client, "list_virtual_machines"))["virtual_machines"]
    requests_before = vm_requests(world)
    sentence = await call_tool_error(
        client, "restore_snapshot", snapshot_id=ready, new_vm_name=listed[0]["name"]
    )
    assert "exists already" in sentence
    assert vm_requests(world) > requests_before
