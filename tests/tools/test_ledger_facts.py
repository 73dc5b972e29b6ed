"""The ledger's rows name the cloud of each attempt, and what it created."""

import json
from typing import Any

import httpx
import pytest
from mcp import Client

from snapshot_mcp.settings.environment import Settings, read_settings
from tests.conftest import World, call_tool, call_tool_error
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot

pytestmark = pytest.mark.one_era

EVENTS = ("planned", "sent", "done", "failed", "unknown", "refused")


async def read_arguments(world: World, event: str, tool: str) -> dict[str, Any]:
    """Return the arguments of the newest row of this event and tool."""
    rows = [row for row in await world.ledger() if (row.event, row.tool) == (event, tool)]
    return json.loads(rows[-1].arguments)


async def test_every_row_names_the_cloud(world: World, client: Client) -> None:
    await call_tool_error(client, "create_snapshot", vm_id=793701, name="no-permission-for-it")
    await call_tool(client, "create_snapshot", **await creation_arguments(client))
    commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client, 1))
    await call_tool(client, "delete_snapshot", **commit)
    plan = await call_tool(client, "plan_retention", keep_last=1)
    await call_tool(
        client,
        "apply_retention",
        plan_token=plan["plan_token"],
        confirm=plan["confirm_with"],
    )
    rows = [row for row in await world.ledger() if row.event in EVENTS]
    assert {row.event for row in rows} >= {"planned", "sent", "done", "refused"}
    assert {json.loads(row.arguments).get("cloud") for row in rows} == {"embedded"}


async def test_a_done_row_has_the_id_of_what_was_created(world: World, client: Client) -> None:
    created = await call_tool(client, "create_snapshot", **await creation_arguments(client))
    done = await read_arguments(world, "done", "create_snapshot")
    assert done["result_id"] == created["snapshot"]["id"]
    assert "result_id" not in await read_arguments(world, "sent", "create_snapshot")

    snapshot = await ready_snapshot(client)
    commit, _ = await make_plan(client, "restore_snapshot", snapshot)
    restored = await call_tool(client, "restore_snapshot", **commit)
    done = await read_arguments(world, "done", "restore_snapshot")
    assert done["result_id"] == restored["virtual_machine"]["id"]

    image = await call_tool(
        client, "create_image_from_snapshot", snapshot_id=snapshot["id"], name="base-image"
    )
    done = await read_arguments(world, "done", "create_image_from_snapshot")
    assert done["result_id"] == image["image"]["id"]

    commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client, 1))
    await call_tool(client, "delete_snapshot", **commit)
    assert "result_id" not in await read_arguments(world, "done", "delete_snapshot")


async def test_a_result_that_was_found_afterwards_is_recorded_with_its_id(
    world: World, client: Client
) -> None:
    async def lose_replies(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadError("the connection broke", request=request)
        return response

    arguments = await creation_arguments(client)
    world.tamper(lose_replies)
    created = await call_tool(client, "create_snapshot", **arguments)
    done = await read_arguments(world, "done", "create_snapshot")
    assert done["result_id"] == created["snapshot"]["id"]
    assert done["cloud"] == "embedded"


@pytest.mark.parametrize(
    ("url", "cloud"),
    [
        ("https://cloud.example/v1/", "https://cloud.example/v1"),
        ("https://Cloud.Example:443/v1", "https://cloud.example/v1"),
        ("http://127.0.0.1:8080/V1", "http://127.0.0.1:8080/V1"),
    ],
)
def test_one_address_has_one_name(url: str, cloud: str) -> None:
    environment = {"SNAPSHOT_MCP_API_KEY": "key", "SNAPSHOT_MCP_API_URL": url}
    assert read_settings(environment).cloud == cloud


def test_a_cloud_without_a_key_is_the_embedded_one() -> None:
    assert Settings().cloud == "embedded"
