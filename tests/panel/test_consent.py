"""Consent in the panel, with a client of each protocol era that supports the extension."""

import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
from mcp import Client
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, TextResourceContents

from snapshot_mcp.core.uris import PANEL_URI
from snapshot_mcp.mcp_server.panel.page import PAGE
from snapshot_mcp.mcp_server.tools.handlers import PANEL_META
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from tests.conftest import ERAS, World, call_tool, call_tool_error
from tests.tools.helpers import change_cloud
from tests.tools.rewritten_replies import shorten_lists
from tests.tools.tool_names import NAMES
from tests.tools.toolsnaps import assert_matches_toolsnap

PANEL_ONLY_TOOLS = ["panel_snapshots", "panel_virtual_machine", "commit_from_panel"]
COMMITS = ("delete_snapshot", "restore_snapshot", "apply_retention")


@pytest.fixture(params=ERAS)
async def client(world: World, request: pytest.FixtureRequest) -> AsyncGenerator[Client]:
    """Connect a client that has the panel but no elicitation, with consent set to human."""
    world.settings = world.settings.model_copy(update={"consent": "human"})
    async with world.client(request.param, panel=True) as client:
        yield client


async def make_plan(client: Client, tool: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a plan and return it with the arguments of `commit_from_panel` that commit it."""
    snapshot_id = (await call_tool(client, "list_snapshots", state="ready"))["snapshots"][0]["id"]
    if tool == "apply_retention":
        planning_tool, planning_arguments = "plan_retention", {"keep_last": 2}
        commit: dict[str, Any] = {}
    else:
        commit = {"snapshot_id": snapshot_id}
        if tool == "restore_snapshot":
            commit["new_vm_name"] = "from-the-panel"
        planning_tool, planning_arguments = tool, commit
    result = await client.call_tool(planning_tool, planning_arguments)
    plan = cast("dict[str, Any]", result.structured_content)
    nonce = panel_nonce(result)
    assert nonce not in json.dumps([plan, [block.model_dump() for block in result.content]])
    commit |= {"tool": tool, "plan_token": plan["plan_token"], "nonce": nonce}
    return plan, commit | {"words": plan["confirm_with"]}


def model_commit(commit: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with which the model would commit the same plan."""
    arguments = {"plan_token": commit["plan_token"], "confirm": commit["words"]}
    return arguments | {
        name: commit[name] for name in ("snapshot_id", "new_vm_name") if name in commit
    }


async def tool_names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


def panel_nonce(result: CallToolResult) -> str:
    return (result.meta or {})[PANEL_META]["nonce"]


@pytest.mark.parametrize("tool", COMMITS)
@pytest.mark.sampled(2)
async def test_confirmation_in_the_panel_counts_as_human_consent(
    world: World, client: Client, tool: str
) -> None:
    plan, commit = await make_plan(client, tool)
    assert "The panel shows this plan" in plan["next_step"]
    result, _ = (await call_tool(client, "commit_from_panel", **commit)).values()
    assert result["outcome"] in ("deleted", "pending", "restored", "applied")
    sent = [row for row in await world.ledger() if row.event == "sent" and row.tool == tool]
    assert [row.evidence for row in sent] == ["panel"]
    assert world.writes


@pytest.mark.parametrize("tool", COMMITS)
@pytest.mark.sampled(2)
async def test_commit_requires_the_nonce_of_the_plan(
    world: World, client: Client, tool: str
) -> None:
    _, commit = await make_plan(client, tool)
    _, other = await make_plan(client, tool)
    assert commit["nonce"] != other["nonce"]
    for nonce in ("", other["nonce"], commit["nonce"][:-1], "ü"):
        error = await call_tool_error(client, "commit_from_panel", **commit | {"nonce": nonce})
        assert error.startswith("This call did not come from the panel that shows this plan.")
    assert world.writes == []


@pytest.mark.parametrize("tool", COMMITS)
async def test_model_cannot_commit_without_the_panel(
    world: World, client: Client, tool: str
) -> None:
    _, commit = await make_plan(client, tool)
    error = await call_tool_error(client, tool, **model_commit(commit))
    assert error.startswith("The person approves this plan in the panel, and has not done so yet.")
    assert world.writes == []


async def test_model_cannot_commit_even_if_any_consent_is_accepted(
    world: World,
) -> None:
    async with world.client(panel=True) as client:
        _, commit = await make_plan(client, "delete_snapshot")
        error = await call_tool_error(client, "delete_snapshot", **model_commit(commit))
        assert "in the panel" in error
        await call_tool(client, "commit_from_panel", **commit)
    assert len(world.writes) == 1


async def test_wrong_confirmation_changes_nothing_and_can_be_corrected(
    world: World, client: Client
) -> None:
    _, commit = await make_plan(client, "delete_snapshot")
    error = await call_tool_error(client, "commit_from_panel", **commit | {"words": "yes"})
    assert (
        error == "The typed words are not the confirmation words of the plan. Nothing was changed."
    )
    assert world.writes == []
    await call_tool(client, "commit_from_panel", **commit)
    assert len(world.writes) == 1


async def test_used_expired_or_mismatched_plan_is_rejected(world: World, client: Client) -> None:
    _, commit = await make_plan(client, "delete_snapshot")
    await call_tool(client, "commit_from_panel", **commit)
    assert "was already used" in await call_tool_error(client, "commit_from_panel", **commit)
    _, unused = await make_plan(client, "delete_snapshot")
    for mismatch in ({"snapshot_id": 1}, {"tool": "apply_retention"}):
        error = await call_tool_error(client, "commit_from_panel", **unused | mismatch)
        assert "is for another tool or another snapshot" in error
    world.manual_clock.advance(minutes=11)
    assert "has expired" in await call_tool_error(client, "commit_from_panel", **unused)
    assert len(world.writes) == 1


@pytest.mark.parametrize("missing", ["plan_token", "words"])
async def test_incomplete_commit_does_not_create_a_plan(
    world: World, client: Client, missing: str
) -> None:
    _, commit = await make_plan(client, "delete_snapshot")
    error = await call_tool_error(client, "commit_from_panel", **commit | {missing: ""})
    assert error == "plan_token or words are empty. Nothing was changed."
    assert world.writes == []


async def test_client_without_the_panel_gets_no_panel_tools_and_cannot_commit(
    world: World,
) -> None:
    async with world.client(panel=True) as with_panel, world.client() as without_panel:
        _, commit = await make_plan(with_panel, "delete_snapshot")
        assert await tool_names(without_panel) == NAMES
        assert await tool_names(with_panel) == [*NAMES, *PANEL_ONLY_TOOLS]
        error = await call_tool_error(without_panel, "commit_from_panel", **commit)
        assert error == "Unknown tool: commit_from_panel"
        target = {"snapshot_id": commit["snapshot_id"]}
        result = await without_panel.call_tool("delete_snapshot", target)
        assert PANEL_META not in (result.meta or {})
    assert world.writes == []


async def test_outdated_plan_is_replaced_by_a_plan_with_its_own_nonce(
    world: World, client: Client
) -> None:
    _, commit = await make_plan(client, "delete_snapshot")
    resized = "UPDATE snapshots SET gigabytes = gigabytes + 1 WHERE id = ?"
    change_cloud(world, resized, commit["snapshot_id"])
    result = await client.call_tool("commit_from_panel", commit)
    new_plan = cast("dict[str, Any]", result.structured_content)["deletion"]
    assert new_plan["outcome"] == "confirmation_required"
    new_nonce = panel_nonce(result)
    assert new_nonce != commit["nonce"]
    new_commit = commit | {"plan_token": new_plan["plan_token"], "nonce": new_nonce}
    await call_tool(client, "commit_from_panel", **new_commit)
    assert len(world.writes) == 1


async def test_client_with_elicitation_asks_for_the_models_commit_but_not_for_the_panels(
    world: World,
) -> None:
    questions: list[str] = []

    async def decline(context: object, params: object) -> ElicitResult:
        del context
        assert isinstance(params, ElicitRequestFormParams)
        questions.append(params.message)
        return ElicitResult(action="decline")

    async with world.client(elicitation_callback=decline, panel=True) as client:
        _, commit = await make_plan(client, "delete_snapshot")
        error = await call_tool_error(client, "delete_snapshot", **model_commit(commit))
        assert "declined" in error
        assert len(questions) == 1
        await call_tool(client, "commit_from_panel", **commit)
    assert len(questions) == 1
    assert len(world.writes) == 1


async def test_panel_cannot_commit_with_a_tool_that_is_not_offered(world: World) -> None:
    async with world.client(panel=True) as client:
        _, commit = await make_plan(client, "delete_snapshot")
    world.settings = world.settings.model_copy(update={"toolsets": ("retention",)})
    async with world.client(panel=True) as client:
        error = await call_tool_error(client, "commit_from_panel", **commit)
        assert error == "This server does not offer delete_snapshot. Nothing was changed."
    world.settings = world.settings.model_copy(update={"read_only": True})
    async with world.client(panel=True) as client:
        assert await tool_names(client) == ["plan_retention"]
    assert world.writes == []


async def test_page_is_linked_to_its_tools_and_may_not_load_anything(client: Client) -> None:
    shows_panel = {tool.name for tool in TOOLS if tool.panel == "shows"}
    for tool in (await client.list_tools()).tools:
        ui_meta = (tool.meta or {}).get("ui", {})
        if tool.name in PANEL_ONLY_TOOLS:
            assert ui_meta == {"resourceUri": PANEL_URI, "visibility": ["app"]}
            definition = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
            assert_matches_toolsnap(f"tool.{tool.name}", definition)
        elif tool.name in shows_panel:
            assert ui_meta == {"resourceUri": PANEL_URI, "visibility": ["model", "app"]}
        else:
            assert ui_meta == {}
    (content,) = (await client.read_resource(PANEL_URI)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "text/html;profile=mcp-app"
    assert content.text == PAGE.read_text(encoding="utf-8")
    csp = (content.meta or {})["ui"]["csp"]
    assert list(csp.values()) == [[], [], [], []]
    assert "default-src 'none'" in content.text


async def test_panel_snapshots_returns_the_data_of_the_timeline(
    world: World, client: Client
) -> None:
    listed = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    shown = await call_tool(client, "panel_snapshots")
    assert [snapshot["id"] for snapshot in shown["snapshots"]] == [
        snapshot["id"] for snapshot in listed
    ]
    assert shown["total"] == len(listed)
    assert any("derived_image" in snapshot for snapshot in shown["snapshots"])
    assert any(snapshot.get("vm_gone") for snapshot in shown["snapshots"])
    vm_id = listed[0]["vm_id"]
    of_vm = await call_tool(client, "panel_snapshots", vm_id=vm_id)
    assert {snapshot["vm_id"] for snapshot in of_vm["snapshots"]} == {vm_id}
    assert world.writes == []


async def test_panel_snapshots_looks_up_vms_and_does_not_take_an_omitted_image_as_none(
    world: World, client: Client
) -> None:
    full = (await call_tool(client, "panel_snapshots"))["snapshots"]
    shorten_lists(world)
    short = (await call_tool(client, "panel_snapshots"))["snapshots"]
    assert [row.get("vm_gone") for row in short] == [row.get("vm_gone") for row in full]
    assert all(row["image_unknown"] and "derived_image" not in row for row in short)
    assert not any("image_unknown" in row for row in full)


async def test_panel_virtual_machine_returns_one_vm(world: World, client: Client) -> None:
    vm = (await call_tool(client, "list_virtual_machines"))["virtual_machines"][0]
    result = await call_tool(client, "panel_virtual_machine", vm_id=vm["id"])
    assert result["name"] == vm["name"]
    error = await call_tool_error(client, "panel_virtual_machine", vm_id=1)
    assert error == "The cloud has no VM 1. Nothing was changed."
    assert world.writes == []
