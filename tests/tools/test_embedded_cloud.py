"""The embedded cloud cannot be mistaken for a real account: each answer about a change names it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult, TextResourceContents
from pydantic import SecretStr

from snapshot_mcp.core.errors import NOTHING_CHANGED
from snapshot_mcp.mcp_server.context import EMBEDDED_NOTE
from snapshot_mcp.mcp_server.panel.tools import PANEL_TOOLS
from snapshot_mcp.mcp_server.tools.declaration import ToolDeclaration
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.settings.environment import EMBEDDED_API_KEY
from tests.conftest import World, call_tool, result_text
from tests.tools.helpers import (
    FakePerson,
    client_with_person,
    creation_arguments,
    deleted_ids,
    make_plan,
    make_retention_plan,
    ready_snapshot,
)

pytestmark = pytest.mark.one_era

CHANGING_TOOLS = [tool for tool in (*TOOLS, *PANEL_TOOLS) if tool.effect != "reads" or tool.plans]
COMMITTED_WITH_TOKEN = ("delete_snapshot", "restore_snapshot")
ADDRESSES = ("snapshot://{snapshot}", "vm://{vm}/snapshots")


def use_real_account(world: World) -> None:
    """Give the next server an API key; its requests still reach the embedded cloud."""
    key = SecretStr(EMBEDDED_API_KEY)
    world.settings = world.settings.model_copy(update={"api_key": key})


def names_embedded_cloud(result: CallToolResult) -> bool:
    """Return whether the text and the content name the embedded cloud; they must agree."""
    content: Mapping[str, Any] = result.structured_content or {}
    assert content.get("embedded_cloud") in (None, True)
    named = "embedded_cloud" in content
    assert result_text(result).endswith("\n" + EMBEDDED_NOTE) == named
    assert result_text(result).count(EMBEDDED_NOTE) == int(named)
    return named


async def changing_calls(client: Client) -> list[tuple[str, dict[str, Any]]]:
    """Return a call of each tool that changes something, and the calls that only plan."""
    newest, older = await ready_snapshot(client), await ready_snapshot(client, 1)
    deletion, _ = await make_plan(client, "delete_snapshot", older)
    restore, _ = await make_plan(client, "restore_snapshot", newest)
    rehearsal: dict[str, object] = {
        "snapshot_id": older["id"],
        "new_vm_name": "test-it",
        "rehearsal": True,
    }
    planned = await call_tool(client, "restore_snapshot", **rehearsal)
    rehearsal |= {"plan_token": planned["plan_token"], "confirm": planned["confirm_with"]}
    restored = await call_tool(client, "restore_snapshot", **rehearsal)
    retention = await make_retention_plan(client, keep_last=1)
    tokens = {"plan_token": retention["plan_token"], "confirm": retention["confirm_with"]}
    image: dict[str, Any] = {"snapshot_id": newest["id"], "name": "base-image"}
    return [
        ("plan_retention", {"keep_last": 2}),
        ("create_snapshot", await creation_arguments(client)),
        ("delete_snapshot", {"snapshot_id": newest["id"]}),
        ("restore_snapshot", {"snapshot_id": newest["id"], "new_vm_name": "planned-only"}),
        ("create_image_from_snapshot", image),
        ("delete_rehearsal_vm", {"vm_id": restored["virtual_machine"]["id"]}),
        ("restore_snapshot", restore),
        ("delete_snapshot", deletion),
        ("apply_retention", tokens),
    ]


async def test_every_changing_tool_names_the_embedded_cloud_in_its_results(client: Client) -> None:
    calls = await changing_calls(client)
    assert {tool for tool, _ in calls} | {"commit_from_panel"} == {t.name for t in CHANGING_TOOLS}
    for tool, arguments in calls:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, (tool, result_text(result))
        assert names_embedded_cloud(result), tool


async def test_no_result_names_the_embedded_cloud_for_a_real_account(world: World) -> None:
    use_real_account(world)
    async with world.client() as client:
        for tool, arguments in await changing_calls(client):
            for values in (arguments | {"unknown": 1}, arguments):
                result = await client.call_tool(tool, values)
                assert result.is_error == ("unknown" in values), result_text(result)
                assert not names_embedded_cloud(result), tool
    async with world.client(panel=True) as client:
        snapshots = await client.call_tool("panel_snapshots", {})
        assert "embedded_cloud" not in (snapshots.structured_content or {})


@pytest.mark.parametrize("tool", CHANGING_TOOLS, ids=lambda tool: tool.name)
async def test_every_changing_tool_names_the_embedded_cloud_in_its_errors(
    world: World, tool: ToolDeclaration
) -> None:
    async with world.client(panel=True) as client:
        for arguments in ({}, {"unknown": 1}, {"snapshot_id": "x", "plan_token": 7}):
            result = await client.call_tool(tool.name, arguments)
            if result.is_error:
                assert NOTHING_CHANGED in result_text(result)
            assert names_embedded_cloud(result)


async def test_every_schema_of_a_changing_tool_describes_the_field(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for declared in TOOLS:
        schema = tools[declared.name].output_schema
        assert schema is not None
        assert ("embedded_cloud" in schema["properties"]) == (declared in CHANGING_TOOLS)
        assert "embedded_cloud" not in schema.get("required", ())


async def test_reading_tools_do_not_repeat_what_the_instructions_say(client: Client) -> None:
    for tool in ("list_snapshots", "list_virtual_machines", "review_snapshots"):
        assert not names_embedded_cloud(await client.call_tool(tool, {}))


async def test_resources_name_the_embedded_cloud(world: World) -> None:
    for embedded in (True, False):
        async with world.client() as client:
            snapshot = await ready_snapshot(client)
            for address in ADDRESSES:
                uri = address.format(snapshot=snapshot["id"], vm=snapshot["vm_id"])
                (contents,) = (await client.read_resource(uri)).contents
                assert isinstance(contents, TextResourceContents)
                assert ("embedded_cloud" in json.loads(contents.text)) == embedded
        use_real_account(world)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("embedded", [True, False])
async def test_the_question_to_the_person_names_the_embedded_cloud(
    world: World, mode: str, *, embedded: bool
) -> None:
    if not embedded:
        use_real_account(world)
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        for tool in COMMITTED_WITH_TOKEN:
            commit, _ = await make_plan(client, tool, await ready_snapshot(client))
            await client.call_tool(tool, commit)
        plan = await make_retention_plan(client, keep_last=1)
        assert deleted_ids(plan)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        await client.call_tool("apply_retention", commit)
    assert len(person.questions) == len(COMMITTED_WITH_TOKEN) + 1
    for question in person.questions:
        assert question.splitlines().count(EMBEDDED_NOTE) == int(embedded)


async def test_an_accepted_question_carries_out_the_change(world: World) -> None:
    person = FakePerson()
    for mode in ("legacy", "2026-07-28"):
        async with client_with_person(world, mode, person) as client:
            commit, plan = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
            person.will_type(plan["confirm_with"])
            result = await client.call_tool("delete_snapshot", commit)
        assert names_embedded_cloud(result)
        assert (result.structured_content or {})["outcome"] in ("deleted", "pending")


async def test_the_panel_learns_that_the_cloud_is_the_embedded_one(world: World) -> None:
    async with world.client(panel=True) as client:
        result = await client.call_tool("panel_snapshots", {})
    assert (result.structured_content or {})["embedded_cloud"] is True
