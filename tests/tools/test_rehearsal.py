"""restore_snapshot with rehearsal: consent as for a restore, name prefix, duration, removal."""

from typing import Any

import httpx
import pytest
from mcp import Client
from mcp_types import ElicitRequestParams, ElicitResult

from tests.conftest import ERAS, World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import ready_snapshot

pytestmark = pytest.mark.one_era


async def commit_rehearsal(
    client: Client, **others: object
) -> tuple[dict[str, object], dict[str, Any]]:
    """Plan a rehearsal; return the arguments that commit it, and the plan."""
    snapshot_id = (await ready_snapshot(client))["id"]
    arguments = {"snapshot_id": snapshot_id, "new_vm_name": "box", "rehearsal": True} | others
    plan = await call_tool(client, "restore_snapshot", **arguments)
    assert plan["outcome"] == "confirmation_required"
    return arguments | {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}, plan


async def test_the_plan_of_a_rehearsal_shows_the_name_and_the_required_deletion(
    world: World, client: Client
) -> None:
    _, plan = await commit_rehearsal(client)
    assert plan["plan"]["new_vm_name"] == "rehearsal-box"
    assert plan["plan"]["action"].startswith("Rehearse a restore: create a new, billed VM named")
    assert '"rehearsal-box"' in plan["plan"]["action"]
    assert any("with delete_rehearsal_vm" in warning for warning in plan["plan"]["warnings"])
    assert world.writes == []


async def test_a_rehearsal_is_timed_and_its_removal_is_left_to_the_person(
    world: World, client: Client
) -> None:
    commit, _ = await commit_rehearsal(client)
    result, text = await call_tool_with_text(client, "restore_snapshot", **commit, wait_seconds=60)
    vm = result["virtual_machine"]
    assert (result["outcome"], vm["name"], vm["status"]) == ("restored", "rehearsal-box", "ACTIVE")
    assert 6 <= result["took_seconds"] <= 9  # the embedded cloud takes 6 s
    assert f"is ACTIVE, {result['took_seconds']:g} s after the request" in text
    assert f"delete_rehearsal_vm with vm_id {vm['id']}" in result["next_step"]
    assert "which is billed until it is deleted" in result["next_step"]
    assert len(world.writes) == 1
    (sent, _) = await world.attempts()
    assert '"new_vm_name":"rehearsal-box"' in sent.arguments.replace(": ", ":")
    assert '"rehearsal":true' in sent.arguments.replace(": ", ":")


async def test_a_rehearsal_vm_that_was_left_behind_is_found(client: Client) -> None:
    commit, _ = await commit_rehearsal(client)
    made = (await call_tool(client, "restore_snapshot", **commit))["virtual_machine"]["id"]
    listed = await call_tool(client, "list_virtual_machines", search="rehearsal-")
    assert [vm["id"] for vm in listed["virtual_machines"]] == [made]
    review, text = await call_tool_with_text(client, "review_snapshots")
    assert [vm["id"] for vm in review["rehearsals"]["virtual_machines"]] == [made]
    assert f"{made} rehearsal-box ACTIVE made 2026-11-20" in text


async def test_the_removal_instructions_work(world: World, client: Client) -> None:
    commit, _ = await commit_rehearsal(client)
    made = (await call_tool(client, "restore_snapshot", **commit))["virtual_machine"]["id"]
    async with (
        world.connect(world.settings, world.manual_clock.clock) as by_hand,
        by_hand.stream("DELETE", f"/core/virtual-machines/{made}") as response,
    ):
        assert response.status_code == 200
    world.manual_clock.advance(seconds=2)  # a deletion takes a moment
    review = await call_tool(client, "review_snapshots")
    assert review["rehearsals"] == {"count": 0, "virtual_machines": [], "more": 0}


async def test_a_rehearsal_without_waiting_is_pending_and_has_removal_instructions(
    client: Client,
) -> None:
    commit, _ = await commit_rehearsal(client)
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=1)
    assert result["outcome"] == "pending"
    assert "took_seconds" not in result
    assert 'list_virtual_machines with search "rehearsal-box"' in result["next_step"]
    assert "delete_rehearsal_vm with vm_id" in result["next_step"]


@pytest.mark.parametrize(
    ("requested", "made"),
    [
        ("rehearsal-box", "rehearsal-box"),
        ("x" * 50, "rehearsal-" + "x" * 40),
        ("x" * 39 + " tail", "rehearsal-" + "x" * 39),
    ],
)
async def test_the_name_gets_one_prefix_and_at_most_fifty_characters(
    client: Client, requested: str, made: str
) -> None:
    commit, plan = await commit_rehearsal(client, new_vm_name=requested)
    assert plan["plan"]["new_vm_name"] == made
    result = await call_tool(client, "restore_snapshot", **(commit | {"new_vm_name": made}))
    assert result["virtual_machine"]["name"] == made


async def test_plans_of_rehearsals_and_restores_are_not_interchangeable(
    world: World, client: Client
) -> None:
    commit, _ = await commit_rehearsal(client, new_vm_name="rehearsal-box")
    real = commit | {"rehearsal": False}
    assert "for other arguments" in await call_tool_error(client, "restore_snapshot", **real)
    planned = {key: real[key] for key in ("snapshot_id", "new_vm_name")}
    plan = await call_tool(client, "restore_snapshot", **planned)
    crossed = commit | {"plan_token": plan["plan_token"]}
    assert "for other arguments" in await call_tool_error(client, "restore_snapshot", **crossed)
    assert world.writes == []


async def test_a_second_rehearsal_of_the_same_name_is_refused(world: World, client: Client) -> None:
    commit, _ = await commit_rehearsal(client)
    await call_tool(client, "restore_snapshot", **commit)
    again = {key: commit[key] for key in ("snapshot_id", "new_vm_name", "rehearsal")}
    text = await call_tool_error(client, "restore_snapshot", **again)
    assert 'This server used the name "rehearsal-box" at 12:00 UTC for VM' in text
    assert len(world.writes) == 1


@pytest.mark.parametrize("mode", ERAS)
async def test_a_person_is_asked_about_the_rehearsal(world: World, mode: str) -> None:
    questions: list[str] = []

    async def decline(context: object, params: ElicitRequestParams) -> ElicitResult:
        del context
        questions.append(params.message)
        return ElicitResult(action="decline")

    async with world.client(mode, decline) as client:
        commit, _ = await commit_rehearsal(client)
        text = await call_tool_error(client, "restore_snapshot", **commit)
    assert "The client was asked and declined." in text
    assert 'Rehearse a restore: create a new, billed VM named "rehearsal-box"' in questions[0]
    assert world.writes == []


async def test_a_rehearsal_with_a_lost_answer_is_reconciled_by_its_name_and_timed(
    world: World, client: Client
) -> None:
    async def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadError("reset")
        return response

    commit, _ = await commit_rehearsal(client)
    world.tamper(lose)
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
    assert result["outcome"] == "restored"
    assert result["virtual_machine"]["name"] == "rehearsal-box"
    assert result["took_seconds"] >= 6
    assert [row.event for row in await world.attempts()] == ["sent", "done"]


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [(httpx.ReadTimeout("no answer"), "unknown"), (httpx.ReadError("reset"), "unknown")],
)
async def test_a_rehearsal_that_never_appears_has_failed_or_is_unknown(
    world: World, client: Client, failure: httpx.HTTPError, outcome: str
) -> None:
    async def vanish(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST":
            raise failure
        return None

    commit, _ = await commit_rehearsal(client)
    world.fail(vanish)
    result = await call_tool(client, "restore_snapshot", **commit)
    assert result["outcome"] == outcome
    assert "took_seconds" not in result
    if outcome == "unknown":
        assert 'search "rehearsal-box"' in result["next_step"]
        assert "is billed until it is deleted" in result["next_step"]


async def test_a_rehearsal_vm_that_fails_must_be_deleted_as_well(
    world: World, client: Client
) -> None:
    async def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        await response.aread()
        if "/core/virtual-machines/" not in request.url.path:
            return response
        content = response.content.replace(b'"CREATING"', b'"ERROR"').replace(
            b'"BUILD"', b'"ERROR"'
        )
        return httpx.Response(200, content=content)

    commit, _ = await commit_rehearsal(client)
    world.tamper(spoil)
    result = await call_tool(client, "restore_snapshot", **commit)
    assert result["outcome"] == "failed"
    assert "reports an error on it" in result["next_step"]
    assert "delete_rehearsal_vm with vm_id" in result["next_step"]
    assert "took_seconds" not in result


async def test_a_real_restore_reports_its_duration_and_keeps_its_name(client: Client) -> None:
    commit, _ = await commit_rehearsal(client, rehearsal=False)
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
    assert result["virtual_machine"]["name"] == "box"
    assert result["took_seconds"] >= 6
    assert result["next_step"] == "It is billed until it is deleted."
