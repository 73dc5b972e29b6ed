"""Consent in the panel: what it takes, through a client of each era that declares panels."""

import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
from mcp import Client
from mcp_types import ElicitRequestFormParams, ElicitResult, TextResourceContents

from snapshot_mcp.core.uris import PANEL
from snapshot_mcp.mcp_server.panel.binding import PAGE, SHOWN_WITH
from snapshot_mcp.mcp_server.tools.registry import PANEL_META
from tests.conftest import ERAS, World, ask, refused
from tests.tools.test_definitions import TOOLS, compare

PANEL_TOOLS = ["panel_snapshots", "panel_virtual_machine", "commit_from_panel"]
COMMITS = ("delete_snapshot", "restore_snapshot", "apply_retention")


@pytest.fixture(params=ERAS)
async def client(world: World, request: pytest.FixtureRequest) -> AsyncGenerator[Client]:
    """A client of each era in turn that shows panels and cannot ask; only a person may agree."""
    world.settings = world.settings.model_copy(update={"consent": "human"})
    async with world.client(request.param, panel=True) as client:
        yield client


async def planned(client: Client, tool: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A plan of the tool; and what its commit in the panel takes."""
    target = (await ask(client, "list_snapshots", state="ready"))["snapshots"][0]["id"]
    own: dict[str, Any] = {} if tool == "apply_retention" else {"snapshot_id": target}
    own |= {"new_vm_name": "from-the-panel"} if tool == "restore_snapshot" else {}
    made_by, wanted = (tool, own) if own else ("plan_retention", {"keep_last": 2})
    result = await client.call_tool(made_by, wanted)
    plan = cast("dict[str, Any]", result.structured_content)
    nonce = (result.meta or {})[PANEL_META]["nonce"]
    assert nonce not in json.dumps([plan, [it.model_dump() for it in result.content]])
    presented = {"tool": tool, "plan_token": plan["plan_token"], "nonce": nonce}
    return plan, own | presented | {"words": plan["confirm_with"]}


@pytest.mark.parametrize("tool", COMMITS)
async def test_the_words_in_the_panel_count_as_a_person(
    world: World, client: Client, tool: str
) -> None:
    plan, commit = await planned(client, tool)
    assert "in the panel" in plan["next_step"]
    done = await ask(client, "commit_from_panel", **commit)
    (answer,) = done.values()
    assert answer["outcome"] in ("deleted", "pending", "restored", "applied")
    sent = [row for row in await world.ledger() if row.event == "sent" and row.tool == tool]
    assert [row.evidence for row in sent] == ["panel"]
    assert world.writes


@pytest.mark.parametrize("tool", COMMITS)
async def test_without_the_nonce_of_this_very_plan_nothing_is_sent(
    world: World, client: Client, tool: str
) -> None:
    _, commit = await planned(client, tool)
    _, other = await planned(client, tool)
    assert commit["nonce"] != other["nonce"]
    for nonce in ("", other["nonce"], commit["nonce"][:-1], "ü"):
        told = await refused(client, "commit_from_panel", **commit | {"nonce": nonce})
        assert told.startswith("This did not come from the panel that shows this plan.")
    assert world.writes == []


@pytest.mark.parametrize("tool", COMMITS)
async def test_the_model_alone_commits_nothing(world: World, client: Client, tool: str) -> None:
    _, commit = await planned(client, tool)
    own = {key: commit[key] for key in ("snapshot_id", "new_vm_name") if key in commit}
    evidence = {"plan_token": commit["plan_token"], "confirm": commit["words"]}
    told = await refused(client, tool, **own | evidence)
    assert told.startswith("The person agrees to this plan in the panel, and has not yet.")
    assert world.writes == []


async def test_where_any_evidence_will_do_the_panel_is_still_what_such_a_client_gives(
    world: World,
) -> None:
    async with world.client(panel=True) as client:
        _, commit = await planned(client, "delete_snapshot")
        evidence = {"plan_token": commit["plan_token"], "confirm": commit["words"]}
        target = {"snapshot_id": commit["snapshot_id"]}
        assert "in the panel" in await refused(client, "delete_snapshot", **target | evidence)
        await ask(client, "commit_from_panel", **commit)
    assert len(world.writes) == 1


async def test_wrong_words_change_nothing_and_may_be_typed_again(
    world: World, client: Client
) -> None:
    _, commit = await planned(client, "delete_snapshot")
    told = await refused(client, "commit_from_panel", **commit | {"words": "yes"})
    assert told == "What was typed is not what the plan asks for. Nothing was changed."
    assert world.writes == []
    await ask(client, "commit_from_panel", **commit)
    assert len(world.writes) == 1


async def test_a_used_an_ended_or_a_foreign_plan_is_refused(world: World, client: Client) -> None:
    _, commit = await planned(client, "delete_snapshot")
    await ask(client, "commit_from_panel", **commit)
    assert "was already used" in await refused(client, "commit_from_panel", **commit)
    _, late = await planned(client, "delete_snapshot")
    for swapped in ({"snapshot_id": 1}, {"tool": "apply_retention"}):
        told = await refused(client, "commit_from_panel", **late | swapped)
        assert "is for another tool or another snapshot" in told
    world.turned.turn(minutes=11)
    assert "has expired" in await refused(client, "commit_from_panel", **late)
    assert len(world.writes) == 1


@pytest.mark.parametrize("missing", ["plan_token", "words"])
async def test_half_of_a_commit_is_no_question_for_a_plan(
    world: World, client: Client, missing: str
) -> None:
    _, commit = await planned(client, "delete_snapshot")
    told = await refused(client, "commit_from_panel", **commit | {missing: ""})
    assert told == "plan_token or words are empty. Nothing was changed."
    assert world.writes == []


async def test_a_client_that_shows_no_panel_is_neither_listed_its_tools_nor_served_a_commit(
    world: World,
) -> None:
    async with world.client(panel=True) as showing, world.client() as other:
        _, commit = await planned(showing, "delete_snapshot")
        assert [it.name for it in (await other.list_tools()).tools] == TOOLS
        assert [it.name for it in (await showing.list_tools()).tools] == [*TOOLS, *PANEL_TOOLS]
        told = await refused(other, "commit_from_panel", **commit)
        assert told.startswith("This did not come from the panel")
        result = await other.call_tool("delete_snapshot", {"snapshot_id": commit["snapshot_id"]})
        assert PANEL_META not in (result.meta or {})
    assert world.writes == []


async def test_what_changed_meanwhile_is_planned_anew_with_a_nonce_of_its_own(
    world: World, client: Client
) -> None:
    plan, commit = await planned(client, "delete_snapshot")
    vm = plan["plan"]["vm_id"]
    sibling = next(
        it["id"]
        for it in (await ask(client, "list_snapshots", vm_id=vm, state="ready"))["snapshots"]
        if it["id"] != commit["snapshot_id"]
    )
    first = await client.call_tool("delete_snapshot", {"snapshot_id": sibling})
    own = cast("dict[str, Any]", first.structured_content)
    await ask(
        client,
        "commit_from_panel",
        tool="delete_snapshot",
        snapshot_id=sibling,
        plan_token=own["plan_token"],
        nonce=(first.meta or {})[PANEL_META]["nonce"],
        words=own["confirm_with"],
    )
    again = await client.call_tool("commit_from_panel", commit)
    anew = cast("dict[str, Any]", again.structured_content)["deletion"]
    assert anew["outcome"] == "confirmation_required"
    nonce = (again.meta or {})[PANEL_META]["nonce"]
    assert nonce != commit["nonce"]
    presented = {"plan_token": anew["plan_token"], "nonce": nonce}
    await ask(client, "commit_from_panel", **commit | presented)
    assert len(world.writes) == 2


async def test_a_client_that_can_ask_too_asks_for_the_model_and_takes_the_panels_word(
    world: World,
) -> None:
    asked: list[str] = []

    async def answer(context: object, params: object) -> ElicitResult:
        del context
        assert isinstance(params, ElicitRequestFormParams)
        asked.append(params.message)
        return ElicitResult(action="decline")

    async with world.client(elicitation_callback=answer, panel=True) as client:
        _, commit = await planned(client, "delete_snapshot")
        evidence = {"plan_token": commit["plan_token"], "confirm": commit["words"]}
        target = {"snapshot_id": commit["snapshot_id"]}
        assert "declined" in await refused(client, "delete_snapshot", **target | evidence)
        assert len(asked) == 1
        await ask(client, "commit_from_panel", **commit)
    assert len(asked) == 1
    assert len(world.writes) == 1


async def test_what_the_server_does_not_offer_is_not_committed_in_the_panel(world: World) -> None:
    async with world.client(panel=True) as client:
        _, commit = await planned(client, "delete_snapshot")
    world.settings = world.settings.model_copy(update={"toolsets": ("retention",)})
    async with world.client(panel=True) as client:
        told = await refused(client, "commit_from_panel", **commit)
        assert told == "This server does not offer delete_snapshot. Nothing was changed."
    world.settings = world.settings.model_copy(update={"read_only": True})
    async with world.client(panel=True) as client:
        names = [it.name for it in (await client.list_tools()).tools]
        assert "commit_from_panel" not in names
        assert (await ask(client, "panel_snapshots"))["actions"] == ["plan_retention"]
    assert world.writes == []


async def test_the_page_is_bound_to_its_tools_and_may_fetch_nothing(client: Client) -> None:
    tools = {it.name: it for it in (await client.list_tools()).tools}
    for name, tool in tools.items():
        bound = (tool.meta or {}).get("ui", {})
        if name in PANEL_TOOLS:
            assert bound == {"resourceUri": PANEL, "visibility": ["app"]}
            compare(f"tool.{name}", tool.model_dump(mode="json", by_alias=True, exclude_none=True))
        elif name in SHOWN_WITH:
            assert bound == {"resourceUri": PANEL, "visibility": ["model", "app"]}
        else:
            assert bound == {}
    (content,) = (await client.read_resource(PANEL)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "text/html;profile=mcp-app"
    assert content.text == PAGE.read_text(encoding="utf-8")
    csp = (content.meta or {})["ui"]["csp"]
    assert list(csp.values()) == [[], [], [], []]
    assert "default-src 'none'" in content.text


async def test_the_timeline_is_told_what_it_shows_of_each_snapshot(
    world: World, client: Client
) -> None:
    listed = (await ask(client, "list_snapshots", limit=100))["snapshots"]
    seen = await ask(client, "panel_snapshots")
    assert [it["id"] for it in seen["snapshots"]] == [it["id"] for it in listed]
    assert seen["total"] == len(listed)
    assert any("derived_image" in it for it in seen["snapshots"])
    assert any(it.get("vm_gone") for it in seen["snapshots"])
    vm = listed[0]["vm_id"]
    own = await ask(client, "panel_snapshots", vm_id=vm)
    assert {it["vm_id"] for it in own["snapshots"]} == {vm}
    machine = (await ask(client, "list_virtual_machines"))["virtual_machines"][0]
    followed = await ask(client, "panel_virtual_machine", vm_id=machine["id"])
    assert followed["name"] == machine["name"]
    told = await refused(client, "panel_virtual_machine", vm_id=1)
    assert told == "The cloud has no VM 1. Nothing was changed."
    assert world.writes == []
