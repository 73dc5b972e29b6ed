"""delete_snapshot and restore_snapshot: plan, evidence, commit, through a client of each era."""

import json
from typing import Any

import httpx
import jwt
import pytest
from mcp import Client

from snapshot_mcp.settings.signing_key import KEY_FILE
from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import PLANNED_TOOLS, make_plan, plan_arguments, ready_snapshot

pytestmark = pytest.mark.one_era


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_plan_changes_nothing_and_shows_what_would_be_affected(
    world: World, client: Client, tool: str
) -> None:
    snapshot = await ready_snapshot(client)
    _, plan = await make_plan(client, tool, snapshot)
    assert plan["confirm_with"] == snapshot["name"]
    assert plan["plan"]["snapshot_id"] == snapshot["id"]
    assert plan["plan"]["name"] == snapshot["name"]
    assert plan["plan"]["size"] == snapshot["size"]
    assert plan["plan"]["vm_id"] == snapshot["vm_id"]
    assert plan["plan"]["age_days"] >= 0
    assert plan["expires_at"] == "2026-11-20T12:10:00Z"
    assert world.writes == []
    assert [row.event for row in await world.ledger()] == ["planned"]


async def test_a_delete_plan_warns_of_the_last_copy_the_gone_vm_and_the_image(
    client: Client,
) -> None:
    everything = (await call_tool(client, "list_snapshots", state="ready", limit=100))["snapshots"]
    warned = set[str]()
    for snapshot in everything:
        details = await call_tool(client, "inspect_snapshot", snapshot_id=snapshot["id"])
        plan = (await call_tool(client, "delete_snapshot", snapshot_id=snapshot["id"]))["plan"]
        assert plan["vm_gone"] is details["vm_gone"]
        assert plan["last_ready_of_vm"] is details["last_ready_of_vm"]
        assert plan["newest_of_vm"] is details["newest_of_vm"]
        assert plan.get("derived_image") == details.get("derived_image")
        warnings = " ".join(plan["warnings"])
        assert ("last ready snapshot" in warnings) is plan["last_ready_of_vm"]
        assert ("exists nowhere else" in warnings) is plan["vm_gone"]
        assert ("is deleted too" in warnings) is ("derived_image" in plan)
        warned |= {name for name in ("last_ready_of_vm", "vm_gone") if plan[name]}
        warned |= {"derived_image"} & plan.keys()
    assert warned == {"last_ready_of_vm", "vm_gone", "derived_image"}


async def test_a_restore_plan_shows_the_new_vm_and_its_estimated_price(client: Client) -> None:
    snapshot = await ready_snapshot(client)
    details = (await call_tool(client, "inspect_snapshot", snapshot_id=snapshot["id"]))["snapshot"]
    _, plan = await make_plan(client, "restore_snapshot", snapshot)
    assert plan["plan"]["new_vm_name"] == "back-again"
    assert plan["plan"]["flavor"] == details["vm_flavor"]["name"]
    assert plan["plan"]["region"] == details["region"]
    assert plan["plan"]["price_per_hour_estimate"] > 0
    assert "billed" in plan["plan"]["action"]


async def test_a_delete_with_consent_deletes_only_that_snapshot(
    world: World, client: Client
) -> None:
    before = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    snapshot = await ready_snapshot(client)
    commit, _ = await make_plan(client, "delete_snapshot", snapshot)
    result = await call_tool(client, "delete_snapshot", **commit)
    assert result["outcome"] == "deleted"
    assert result["snapshot_id"] == snapshot["id"]
    after = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    assert [entry["id"] for entry in after] == [
        entry["id"] for entry in before if entry != snapshot
    ]
    assert world.writes == [f"DELETE /v1/core/snapshots/{snapshot['id']}"]
    rows = await world.attempts()
    assert [row.event for row in rows] == ["sent", "done"]
    assert {(row.tool, row.target, row.evidence) for row in rows} == {
        ("delete_snapshot", snapshot["id"], "arguments")
    }


async def test_a_restore_with_consent_makes_one_new_vm_and_waits_for_it(
    world: World, client: Client
) -> None:
    snapshot = await ready_snapshot(client)
    commit, _ = await make_plan(client, "restore_snapshot", snapshot)
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
    assert result["outcome"] == "restored"
    assert result["virtual_machine"]["name"] == "back-again"
    assert result["virtual_machine"]["status"] == "ACTIVE"
    page = await call_tool(client, "list_virtual_machines", search="back-again")
    assert [vm["id"] for vm in page["virtual_machines"]] == [result["virtual_machine"]["id"]]
    assert world.writes == [f"POST /v1/core/snapshots/{snapshot['id']}/restore"]


async def test_a_restore_that_is_not_waited_for_is_pending(client: Client) -> None:
    commit, _ = await make_plan(client, "restore_snapshot", await ready_snapshot(client))
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=0)
    assert result["outcome"] == "pending"
    assert 'list_virtual_machines with search "back-again"' in result["next_step"]
    assert "do not restore it again" in result["next_step"]


async def test_a_contract_that_the_cloud_rejects_is_reported(client: Client) -> None:
    snapshot = await ready_snapshot(client)
    arguments = plan_arguments("restore_snapshot", snapshot) | {"contract_id": 987_654}
    plan = await call_tool(client, "restore_snapshot", **arguments)
    commit = arguments | {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
    assert result["outcome"] == "restored"
    assert "rejected the contract, so the VM is billed on demand" in result["next_step"]


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_commit_without_token_or_words_sends_nothing(
    world: World, client: Client, tool: str
) -> None:
    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    for missing in ("plan_token", "confirm"):
        half = {name: value for name, value in commit.items() if name != missing}
        text = await call_tool_error(client, tool, **half)
        assert f"{missing} is missing" in text
        assert str(commit["confirm"]) not in text
    assert world.writes == []


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_wrong_words_send_nothing_and_do_not_reveal_the_right_ones(
    world: World, client: Client, tool: str
) -> None:
    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    right = str(commit["confirm"])
    for wrong in ("yes", right.upper(), right + " ", right[:-1]):
        text = await call_tool_error(client, tool, **(commit | {"confirm": wrong}))
        assert "confirm does not match the confirmation words of the plan" in text
        assert right not in text
    assert world.writes == []
    result = await call_tool(client, tool, **commit)
    assert result["outcome"] in ("deleted", "restored")


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_plan_works_once(world: World, client: Client, tool: str) -> None:
    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    await call_tool(client, tool, **commit)
    text = await call_tool_error(client, tool, **commit)
    assert text.startswith("This plan was already used; a plan can be used once.")
    assert len(world.writes) == 1


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_plan_expires_after_ten_minutes(world: World, client: Client, tool: str) -> None:
    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    world.manual_clock.advance(minutes=10)
    assert "This plan has expired." in await call_tool_error(client, tool, **commit)
    assert world.writes == []


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_plan_is_valid_for_its_own_target_only(
    world: World, client: Client, tool: str
) -> None:
    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    other = await ready_snapshot(client, 1)
    elsewhere = commit | {"snapshot_id": other["id"], "confirm": other["name"]}
    assert "for another tool or another snapshot" in await call_tool_error(
        client, tool, **elsewhere
    )
    assert world.writes == []


async def test_a_plan_is_valid_for_its_own_tool_and_arguments_only(
    world: World, client: Client
) -> None:
    snapshot = await ready_snapshot(client)
    delete, _ = await make_plan(client, "delete_snapshot", snapshot)
    restore, _ = await make_plan(client, "restore_snapshot", snapshot)
    crossed = restore | {"plan_token": delete["plan_token"]}
    assert "for another tool" in await call_tool_error(client, "restore_snapshot", **crossed)
    renamed = restore | {"new_vm_name": "another-name"}
    assert "for other arguments" in await call_tool_error(client, "restore_snapshot", **renamed)
    billed = restore | {"contract_id": 5}
    assert "for other arguments" in await call_tool_error(client, "restore_snapshot", **billed)
    assert world.writes == []


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_forged_token_sends_nothing(world: World, client: Client, tool: str) -> None:
    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    token = str(commit["plan_token"])
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = [
        "x",
        token[:-2],
        token + "x",
        jwt.encode(claims, "k" * 32, algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims | {"exp": claims["exp"] + 9_999}, "k" * 32, algorithm="HS256"),
    ]
    for wrong in forged:
        text = await call_tool_error(client, tool, **(commit | {"plan_token": wrong}))
        assert text.startswith("This plan_token was not issued by this server.")
    assert world.writes == []


async def test_a_token_of_another_cloud_with_the_same_key_sends_nothing(world: World) -> None:
    async with world.client() as client:
        commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    claims = jwt.decode(str(commit["plan_token"]), options={"verify_signature": False})
    key = bytes.fromhex((world.folder / KEY_FILE).read_text())
    foreign = jwt.encode(claims | {"aud": "elsewhere"}, key, algorithm="HS256")
    async with world.client() as client:
        text = await call_tool_error(
            client, "delete_snapshot", **(commit | {"plan_token": foreign})
        )
    assert "for someone else or another cloud" in text
    assert world.writes == []


async def test_a_target_that_has_changed_gets_a_new_plan(world: World, client: Client) -> None:
    async def change(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        if "snapshot" in body:
            body["snapshot"]["updated_at"] = "2026-11-20T11:59:59Z"
        return httpx.Response(200, json=body, request=request)

    commit, plan = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    world.tamper(change)
    again = await call_tool(client, "delete_snapshot", **commit)
    assert again["outcome"] == "confirmation_required"
    assert "has changed since the plan was made" in again["next_step"]
    assert again["plan_token"] != plan["plan_token"]
    assert world.writes == []
    commit["plan_token"] = again["plan_token"]
    await call_tool(client, "delete_snapshot", **commit)
    assert len(world.writes) == 1


async def test_a_plan_is_void_when_a_deleted_sibling_makes_the_target_the_last_copy(
    world: World, client: Client
) -> None:
    everything = (await call_tool(client, "list_snapshots", state="ready", limit=100))["snapshots"]
    by_vm: dict[int, list[dict[str, Any]]] = {}
    for snapshot in everything:
        by_vm.setdefault(snapshot["vm_id"], []).append(snapshot)
    siblings = min((group for group in by_vm.values() if len(group) > 1), key=len)
    commits = [(await make_plan(client, "delete_snapshot", row))[0] for row in siblings]
    for commit in commits[:-1]:
        result = await call_tool(client, "delete_snapshot", **commit)
        if result["outcome"] == "confirmation_required":
            commit["plan_token"] = result["plan_token"]
            await call_tool(client, "delete_snapshot", **commit)
    last = await call_tool(client, "delete_snapshot", **commits[-1])
    assert last["outcome"] == "confirmation_required"
    assert last["plan"]["last_ready_of_vm"] is True
    assert len(world.writes) == len(siblings) - 1


async def test_a_missing_snapshot_is_reported_and_nothing_is_sent(
    world: World, client: Client
) -> None:
    for tool in PLANNED_TOOLS:
        text = await call_tool_error(client, tool, **plan_arguments(tool, {"id": 999_999}))
        assert text == "The cloud has no snapshot 999999. Nothing was changed."
    commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    other, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    await call_tool(client, "delete_snapshot", **commit)
    assert "The cloud has no snapshot" in await call_tool_error(client, "delete_snapshot", **other)
    assert len(world.writes) == 1


async def test_a_snapshot_that_is_not_ready_is_neither_restored_nor_deleted(
    world: World, client: Client
) -> None:
    vm = next(
        vm
        for vm in (await call_tool(client, "list_virtual_machines", limit=100))["virtual_machines"]
        if vm["can_snapshot"]
    )
    made = await call_tool(
        client,
        "create_snapshot",
        vm_id=vm["id"],
        name="young",
        allow_interruption=True,
        wait_seconds=0,
    )
    for tool, verb in zip(PLANNED_TOOLS, ("deleted", "restored"), strict=True):
        text = await call_tool_error(client, tool, **plan_arguments(tool, made["snapshot"]))
        assert f"cannot be {verb} now: it is pending (status CREATING)" in text
    assert len(world.writes) == 1


async def test_a_failed_snapshot_can_be_deleted_but_not_restored(client: Client) -> None:
    failed = (await call_tool(client, "list_snapshots", state="failed"))["snapshots"][0]
    text = await call_tool_error(
        client, "restore_snapshot", **plan_arguments("restore_snapshot", failed)
    )
    assert "cannot be restored now: it is failed (status ERROR)" in text
    commit, _ = await make_plan(client, "delete_snapshot", failed)
    assert (await call_tool(client, "delete_snapshot", **commit))["outcome"] == "deleted"


async def test_a_restore_under_the_name_of_a_vm_is_refused(world: World, client: Client) -> None:
    snapshot = await ready_snapshot(client)
    text = await call_tool_error(
        client, "restore_snapshot", snapshot_id=snapshot["id"], new_vm_name="training-box"
    )
    assert 'A VM named "training-box" exists already: VM 793701.' in text
    assert world.writes == []


async def test_a_name_with_hidden_characters_is_confirmed_by_its_id(
    world: World, client: Client
) -> None:
    async def rename(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        if request.method == "GET" and "snapshot" in body:
            body["snapshot"]["name"] = "nightly\u200b-1"
        return httpx.Response(response.status_code, json=body, request=request)

    snapshot = await ready_snapshot(client)
    world.tamper(rename)
    commit, plan = await make_plan(client, "delete_snapshot", snapshot)
    assert plan["confirm_with"] == str(snapshot["id"])
    assert any("Hidden or unreadable text" in warning for warning in plan["plan"]["warnings"])
    wrong = commit | {"confirm": "nightly-1"}
    assert "confirmation words of the plan" in await call_tool_error(
        client, "delete_snapshot", **wrong
    )
    assert (await call_tool(client, "delete_snapshot", **commit))["outcome"] == "deleted"


async def test_with_consent_human_both_tools_refuse_before_any_plan(
    world: World,
) -> None:
    world.settings = world.settings.model_copy(update={"consent": "human"})
    async with world.client() as client:
        snapshot = await ready_snapshot(client)
        before = len(world.requests)
        for tool in PLANNED_TOOLS:
            text = await call_tool_error(client, tool, **plan_arguments(tool, snapshot))
            assert "neither ask a person nor show the panel" in text
            assert "SNAPSHOT_MCP_CONSENT" in text
        assert len(world.requests) == before


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_an_outcome_that_cannot_be_determined_is_unknown_and_uses_the_plan(
    world: World, client: Client, tool: str
) -> None:
    async def vanish(request: httpx.Request) -> httpx.Response | None:
        if request.method != "GET":
            raise httpx.ReadTimeout("lost")
        return None

    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    world.fail(vanish)
    result = await call_tool(client, tool, **commit)
    assert result["outcome"] == "unknown"
    assert "may or may not have happened" in result["next_step"]
    assert "do not repeat it" in result["next_step"]
    assert "already used" in await call_tool_error(client, tool, **commit)
    assert len(world.writes) == 1
    assert [row.event for row in await world.attempts()] == ["sent", "unknown"]


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_a_lost_answer_is_reconciled(world: World, client: Client, tool: str) -> None:
    async def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method != "GET":
            raise httpx.ReadTimeout("lost")
        return response

    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    world.tamper(lose)
    result = await call_tool(client, tool, **commit)
    if tool == "delete_snapshot":
        assert (result["outcome"], result["snapshot_id"]) == ("deleted", commit["snapshot_id"])
    else:
        assert result["outcome"] == "restored"
        assert result["virtual_machine"]["name"] == commit["new_vm_name"]
    assert len(world.writes) == 1
    events = [(row.event, row.reason) for row in await world.attempts()]
    assert events == [("sent", ""), ("done", "settled: the cloud shows it")]


async def test_a_deletion_that_is_not_confirmed_is_pending(world: World, client: Client) -> None:
    async def keep(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "DELETE":
            kept.append(str(request.url.path))
        if response.status_code == 404 and request.url.path in kept:
            body = {"status": 200, "snapshot": {"id": snapshot["id"], "status": "DELETING"}}
            return httpx.Response(200, json=body, request=request)
        return response

    kept: list[str] = []
    snapshot = await ready_snapshot(client)
    commit, _ = await make_plan(client, "delete_snapshot", snapshot)
    world.tamper(keep)
    answer, text = await call_tool_with_text(client, "delete_snapshot", **commit)
    assert answer["outcome"] == "pending"
    assert f"inspect_snapshot with {snapshot['id']} later" in text


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_an_unreachable_cloud_at_the_commit_changes_nothing(
    world: World, client: Client, tool: str
) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.method != "GET":
            raise httpx.ConnectError("refused")
        return None

    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    world.fail(refuse)
    text = await call_tool_error(client, tool, **commit)
    assert "The cloud could not be reached (no connection). Nothing was changed." in text
    assert [row.event for row in await world.attempts()] == ["sent", "failed"]


@pytest.mark.parametrize("tool", PLANNED_TOOLS)
async def test_the_text_of_a_plan_contains_its_token_and_its_words(
    client: Client, tool: str
) -> None:
    plan, text = await call_tool_with_text(
        client, tool, **plan_arguments(tool, await ready_snapshot(client))
    )
    assert plan["plan_token"] in text
    assert f'"{plan["confirm_with"]}"' in text


async def test_a_broken_signing_key_is_reported_and_nothing_is_sent(
    world: World, client: Client
) -> None:
    snapshot = await ready_snapshot(client)
    (world.folder / KEY_FILE).write_text("not a key")
    (world.folder / KEY_FILE).chmod(0o600)
    text = await call_tool_error(client, "delete_snapshot", snapshot_id=snapshot["id"])
    assert "The signing key of plans cannot be used" in text
    assert KEY_FILE in text


async def test_every_refusal_is_in_the_ledger_with_its_plan_and_its_reason(
    world: World, client: Client
) -> None:
    snapshot, other = await ready_snapshot(client), await ready_snapshot(client, 1)
    commit, _ = await make_plan(client, "delete_snapshot", snapshot)
    elsewhere = commit | {"snapshot_id": other["id"]}
    await call_tool_error(client, "delete_snapshot", **elsewhere)
    await call_tool_error(client, "delete_snapshot", **(commit | {"confirm": "no"}))
    await call_tool_error(client, "delete_snapshot", **(commit | {"plan_token": "forged"}))
    await call_tool(client, "delete_snapshot", **commit)
    await call_tool_error(client, "delete_snapshot", **commit)
    world.manual_clock.advance(minutes=11)
    late, _ = await make_plan(client, "delete_snapshot", other)
    world.manual_clock.advance(minutes=11)
    await call_tool_error(client, "delete_snapshot", **late)
    rows = [row for row in await world.ledger() if row.event == "refused"]
    assert [row.reason for row in rows] == [
        "This plan is for another tool or another snapshot.",
        "confirm does not match the confirmation words of the plan.",
        "This plan_token was not issued by this server.",
        "This plan was already used; a plan can be used once.",
        "This plan has expired.",
    ]
    first = (await world.ledger())[0].attempt
    assert [row.attempt == first for row in rows] == [True, True, False, True, False]
