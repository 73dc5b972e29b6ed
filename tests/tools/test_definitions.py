"""Definitions that clients see: each tool, prompt and resource matches its toolsnap."""

import jsonschema
import pytest
from mcp import Client
from pydantic import BaseModel

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from tests.conftest import ERAS, World
from tests.tools.tool_names import NAMES, READING
from tests.tools.toolsnaps import TOOLSNAPS, assert_matches_toolsnap


def dump(definition: BaseModel) -> object:
    return definition.model_dump(mode="json", by_alias=True, exclude_none=True)


async def test_the_declared_tools_are_listed_in_their_order(client: Client) -> None:
    assert [tool.name for tool in (await client.list_tools()).tools] == NAMES
    assert len(set(NAMES)) == len(NAMES)


async def test_every_tool_matches_its_toolsnap(client: Client) -> None:
    for tool in (await client.list_tools()).tools:
        assert_matches_toolsnap(f"tool.{tool.name}", dump(tool))


async def test_every_prompt_matches_its_toolsnap(client: Client) -> None:
    for prompt in (await client.list_prompts()).prompts:
        assert_matches_toolsnap(f"prompt.{prompt.name}", dump(prompt))


async def test_every_resource_matches_its_toolsnap(client: Client) -> None:
    for resource in (await client.list_resources()).resources:
        assert_matches_toolsnap(f"resource.{resource.name}", dump(resource))
    for template in (await client.list_resource_templates()).resource_templates:
        assert_matches_toolsnap(f"template.{template.name}", dump(template))


async def test_the_instructions_match_their_toolsnap() -> None:
    server = create_server(Settings())
    assert server.instructions is not None
    assert_matches_toolsnap("instructions", server.instructions.splitlines())


async def test_every_toolsnap_belongs_to_a_definition(world: World) -> None:
    async with world.client(panel=True) as client:
        tools = {f"tool.{tool.name}" for tool in (await client.list_tools()).tools}
        prompts = {f"prompt.{prompt.name}" for prompt in (await client.list_prompts()).prompts}
        resources = {
            f"resource.{resource.name}" for resource in (await client.list_resources()).resources
        }
        templates = {
            f"template.{template.name}"
            for template in (await client.list_resource_templates()).resource_templates
        }
    names = tools | prompts | resources | templates | {"instructions"}
    assert {path.stem for path in TOOLSNAPS.iterdir()} == names


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


async def test_only_deletions_are_marked_as_destructive(client: Client) -> None:
    hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    destructive = [name for name, hint in hints.items() if hint and hint.destructive_hint]
    assert destructive == ["delete_snapshot", "delete_rehearsal_vm", "apply_retention"]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_read_only_server_lists_and_calls_only_tools_that_read(
    world: World, mode: str
) -> None:
    world.settings = world.settings.model_copy(update={"read_only": True})
    async with world.client(mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == READING
        result = await client.call_tool("delete_snapshot", {"snapshot_id": 1})
    assert result.is_error
    assert world.requests == []


async def test_lists_touch_neither_the_disk_nor_the_network(world: World) -> None:
    async with world.client() as client:
        await client.list_tools()
        await client.list_prompts()
    assert list(world.folder.iterdir()) == []
    assert world.requests == []
