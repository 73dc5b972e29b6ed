"""Resources: listed and read by clients of both eras, and errors in the server's words."""

import json
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, TextResourceContents
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from snapshot_mcp.core.uris import PANEL_URI
from snapshot_mcp.models.cloud import MAX_ID
from tests.conftest import World, call_tool
from tests.tools.helpers import set_policy

ID_ERROR = "The id in the address must be a whole number above 0, such as 1701. Nothing was read."

INVALID_IDS = [
    *("", "0", "00", "01", "-1", "+1", "1.0", "1e3", "abc", "1701x", "%31%20", "%D9%A3", "٣"),
    *("null", "1 or 1=1", "{id}", str(MAX_ID + 1), "9" * 5_000),
]


async def read(client: Client, address: str) -> dict[str, Any]:
    """Return the JSON of a resource, and check its MIME type."""
    (contents,) = (await client.read_resource(address)).contents
    assert isinstance(contents, TextResourceContents)
    assert (contents.uri, contents.mime_type) == (address, "application/json")
    return json.loads(contents.text)


async def read_error(client: Client, address: str) -> tuple[int, str]:
    with pytest.raises(MCPError) as caught:
        await client.read_resource(address)
    return caught.value.error.code, caught.value.error.message


async def test_the_policy_the_panel_and_two_templates_are_listed(client: Client) -> None:
    resources = (await client.list_resources()).resources
    templates = (await client.list_resource_templates()).resource_templates
    assert [resource.uri for resource in resources] == [PANEL_URI, "snapshot://policy"]
    assert [template.uri_template for template in templates] == [
        "snapshot://{id}",
        "vm://{id}/snapshots",
    ]
    page_type = "text/html;profile=mcp-app"  # required by the extension
    for definition in (*resources, *templates):
        assert definition.title
        assert definition.description
        expected_type = page_type if definition.name == "panel" else "application/json"
        assert definition.mime_type == expected_type


async def test_a_snapshot_is_read_as_inspect_snapshot_shows_it(client: Client) -> None:
    snapshots = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    for number, summary in enumerate(snapshots):
        details = await read(client, f"snapshot://{summary['id']}")
        assert details["snapshot"]["id"] == summary["id"]
        if number % 5 == 0:
            shown = await call_tool(client, "inspect_snapshot", snapshot_id=summary["id"])
            assert details == shown | {"embedded_cloud": True}


async def test_the_snapshots_of_a_vm_are_read_as_list_snapshots_shows_them(client: Client) -> None:
    everything = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    for vm_id in {snapshot["vm_id"] for snapshot in everything}:
        listed = await call_tool(client, "list_snapshots", vm_id=vm_id, limit=100)
        assert listed["total"] > 0
        expected = listed | {"embedded_cloud": True}
        assert await read(client, f"vm://{vm_id}/snapshots") == expected


async def test_a_vm_without_snapshots_has_an_empty_list(client: Client) -> None:
    assert (await read(client, "vm://999999/snapshots"))["snapshots"] == []


async def test_the_policy_is_read(world: World) -> None:
    set_policy(world, "[protect]\nkeep_newest = 3")
    async with world.client() as client:
        assert (await read(client, "snapshot://policy"))["set"] == {"protect": {"keep_newest": 3}}
    assert world.requests == []


def not_found_code(client: Client) -> int:
    """Return the error code for a missing resource, which differs between the eras."""
    return INVALID_PARAMS if client.protocol_version in MODERN_PROTOCOL_VERSIONS else -32002


async def test_an_invalid_id_is_an_error_without_a_request(world: World, client: Client) -> None:
    for text in INVALID_IDS:
        for address in (f"snapshot://{text}", f"vm://{text}/snapshots"):
            assert await read_error(client, address) == (not_found_code(client), ID_ERROR)
    assert world.requests == []


async def test_an_address_of_another_form_is_unknown(world: World, client: Client) -> None:
    for address in ("vm://793701", "vm://793701/snapshots/", "snapshot://1/2", "snapshot://../1"):
        code, message = await read_error(client, address)
        assert code == not_found_code(client)
        assert "Unknown resource" in message
    assert world.requests == []


async def test_a_missing_snapshot_is_an_error(client: Client) -> None:
    assert await read_error(client, "snapshot://999999") == (
        not_found_code(client),
        "The cloud has no snapshot 999999. Nothing was changed.",
    )


async def test_a_failing_cloud_is_an_error_without_its_text(world: World, client: Client) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"message": "SECRET"})

    world.fail(fail)
    for address in ("snapshot://1701", "vm://793701/snapshots"):
        code, message = await read_error(client, address)
        assert code == INTERNAL_ERROR
        assert message.startswith("The cloud failed on ")
        assert "Nothing was changed." in message
        assert "SECRET" not in message


async def test_a_resource_of_a_forbidden_tool_cannot_be_read(world: World) -> None:
    set_policy(world, '[allow]\ntools = ["list_virtual_machines", "list_snapshots"]')
    async with world.client() as client:
        templates = (await client.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == ["vm://{id}/snapshots"]
        code, _ = await read_error(client, "snapshot://1701")
    assert code == INVALID_PARAMS
    assert world.requests == []
