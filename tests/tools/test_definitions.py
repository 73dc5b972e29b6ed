"""What a client is told of the server: held to files, so that no change goes unseen."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
from mcp import Client

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from tests.conftest import World

TOOLSNAPS = Path(__file__).parents[1] / "toolsnaps"
TOOLS = [
    "list_snapshots",
    "inspect_snapshot",
    "list_virtual_machines",
    "create_snapshot",
    "restore_snapshot",
    "delete_snapshot",
    "plan_retention",
    "apply_retention",
    "create_image_from_snapshot",
    "list_snapshot_events",
    "review_snapshots",
]
READING = [*TOOLS[:3], "plan_retention", "list_snapshot_events", "review_snapshots"]


def compare(name: str, told: object) -> None:
    """Hold `told` to the file of that name; UPDATE_TOOLSNAPS=1 writes it anew."""
    path = TOOLSNAPS / f"{name}.json"
    text = json.dumps(told, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_TOOLSNAPS"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{name} changed; UPDATE_TOOLSNAPS=1 if meant"


async def test_the_tools_are_exactly_these_in_a_fixed_order(client: Client) -> None:
    assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS


async def test_every_tool_is_as_its_toolsnap_says(client: Client) -> None:
    for tool in (await client.list_tools()).tools:
        compare(f"tool.{tool.name}", tool.model_dump(mode="json", by_alias=True, exclude_none=True))


async def test_every_prompt_is_as_its_toolsnap_says(client: Client) -> None:
    for prompt in (await client.list_prompts()).prompts:
        compare(
            f"prompt.{prompt.name}",
            prompt.model_dump(mode="json", by_alias=True, exclude_none=True),
        )


async def test_every_resource_is_as_its_toolsnap_says(client: Client) -> None:
    for resource in (await client.list_resources()).resources:
        compare(
            f"resource.{resource.name}",
            resource.model_dump(mode="json", by_alias=True, exclude_none=True),
        )
    for template in (await client.list_resource_templates()).resource_templates:
        compare(
            f"template.{template.name}",
            template.model_dump(mode="json", by_alias=True, exclude_none=True),
        )


async def test_the_instructions_are_as_their_toolsnap_says() -> None:
    server = create_server(Settings())
    assert server.instructions is not None
    compare("instructions", server.instructions.splitlines())


async def test_no_toolsnap_is_orphaned(world: World) -> None:
    async with world.client(panel=True) as client:
        tools = {f"tool.{tool.name}" for tool in (await client.list_tools()).tools}
        prompts = {f"prompt.{prompt.name}" for prompt in (await client.list_prompts()).prompts}
        resources = {f"resource.{it.name}" for it in (await client.list_resources()).resources}
        listed = (await client.list_resource_templates()).resource_templates
        templates = {f"template.{it.name}" for it in listed}
    told = tools | prompts | resources | templates | {"instructions"}
    assert {path.stem for path in TOOLSNAPS.iterdir()} == told


async def test_every_tool_has_a_title_all_four_hints_and_two_valid_schemas(client: Client) -> None:
    for tool in (await client.list_tools()).tools:
        assert tool.title
        assert tool.annotations is not None
        assert None not in (
            tool.annotations.read_only_hint,
            tool.annotations.destructive_hint,
            tool.annotations.idempotent_hint,
            tool.annotations.open_world_hint,
        )
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)


async def test_only_deletions_are_marked_destructive_and_only_reads_as_reading(
    client: Client,
) -> None:
    hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    assert [name for name, hint in hints.items() if hint and hint.destructive_hint] == [
        "delete_snapshot",
        "apply_retention",
    ]
    assert [name for name, hint in hints.items() if hint and hint.read_only_hint] == READING


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_read_only_lists_and_calls_only_the_reading_tools(world: World, mode: str) -> None:
    world.settings = world.settings.model_copy(update={"read_only": True})
    async with world.client(mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == READING
        result = await client.call_tool("delete_snapshot", {"snapshot_id": 1})
    assert result.is_error
    assert world.requests == []


async def test_nothing_touches_the_disk_or_the_network_before_the_first_call(world: World) -> None:
    async with world.client() as client:
        await client.list_tools()
        await client.list_prompts()
    assert list(world.folder.iterdir()) == []
    assert world.requests == []
