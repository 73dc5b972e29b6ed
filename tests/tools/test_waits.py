"""Waiting: a client learns the id of what it pays for before it gives up."""

import json
import re
from typing import Any, cast

import httpx
import pytest
from mcp import Client

from snapshot_mcp.mcp_server.panel.tools import PANEL_TOOLS
from snapshot_mcp.mcp_server.prompt_files import load_prompts
from snapshot_mcp.mcp_server.tools.arguments import MAX_SILENT_WAIT_SECONDS, MAX_WAIT_SECONDS
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from tests.conftest import ERAS, World, call_tool, call_tool_error
from tests.tools.helpers import make_plan, ready_snapshot

VM_PATH = re.compile(r"/virtual-machines/\d+$")
WAITING_TOOLS = ("create_snapshot", "restore_snapshot", "commit_from_panel")


async def slow_restore(world: World, client: Client) -> dict[str, object]:
    """Return the arguments that commit a restore, which then takes forever."""
    commit, _ = await make_plan(client, "restore_snapshot", await ready_snapshot(client))

    async def build(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not VM_PATH.search(request.url.path):
            return response
        reply = json.loads(await response.aread())
        reply["instance"]["status"] = "BUILD"
        return httpx.Response(response.status_code, json=reply, request=request)

    world.tamper(build)
    return commit


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_without_progress_gets_the_id_before_usual_timeouts(
    world: World, mode: str
) -> None:
    async with world.client(mode) as client:
        commit = await slow_restore(world, client)
        started = world.manual_clock.now()
        result = await call_tool(
            client, "restore_snapshot", **commit, wait_seconds=MAX_WAIT_SECONDS
        )
        waited = (world.manual_clock.now() - started).total_seconds()
    assert result["outcome"] == "pending"
    assert result["virtual_machine"]["id"] > 0
    assert "do not restore it again" in result["next_step"]
    assert waited < 60
    assert MAX_SILENT_WAIT_SECONDS < 60


async def test_the_first_progress_message_names_the_billed_vm(world: World) -> None:
    messages: list[str] = []

    async def record_progress(progress: float, total: float | None, message: str | None) -> None:
        del total
        assert progress >= 0
        messages.append(message or "")

    async with world.client("legacy") as client:
        commit = await slow_restore(world, client)
        started = world.manual_clock.now()
        result = await client.call_tool(
            "restore_snapshot", commit | {"wait_seconds": 120}, progress_callback=record_progress
        )
        waited = (world.manual_clock.now() - started).total_seconds()
    content = cast("dict[str, Any]", result.structured_content)
    vm_id = content["virtual_machine"]["id"]
    assert messages[0].startswith(f"VM {vm_id} is ")
    assert messages[0].endswith("billed until it is deleted")
    assert content["outcome"] == "pending"
    assert waited >= 120


@pytest.mark.parametrize("mode", ERAS)
async def test_a_longer_wait_is_rejected_with_the_bound(world: World, mode: str) -> None:
    async with world.client(mode) as client:
        arguments = {"vm_id": 793701, "name": "x", "wait_seconds": MAX_WAIT_SECONDS + 1}
        error = await call_tool_error(client, "create_snapshot", **arguments)
    assert f"wait_seconds must be at most {MAX_WAIT_SECONDS}." in error
    assert world.writes == []


def test_no_text_advises_a_long_wait_and_the_timeout_of_the_client_is_named() -> None:
    for tool in (*TOOLS, *PANEL_TOOLS):
        schema = json.dumps(tool.definition.input_schema)
        text = f"{tool.definition.description} {schema}"
        assert "600" not in text
        assert ("wait_seconds" in schema) == (tool.name in WAITING_TOOLS)
        if tool.name in WAITING_TOOLS:
            wait = tool.definition.input_schema["properties"]["wait_seconds"]
            assert wait["maximum"] == MAX_WAIT_SECONDS <= 300
            assert wait["default"] < MAX_SILENT_WAIT_SECONDS
            assert "your client" in wait["description"]
    for prompt in load_prompts():
        assert "wait_seconds" not in prompt.template.template
