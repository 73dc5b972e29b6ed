"""Snapshots that this server deleted count as no copy, whatever the cloud still shows."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp_types import ResourceTemplateReference

from snapshot_mcp.ledger.chain import Attempt
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import make_plan, set_policy
from tests.tools.stale_cloud import stale_reads

pytestmark = pytest.mark.one_era

KEEP_LAST_COPY = "[protect]\nkeep_last_copy = true\n"
KEEP_NEWEST = "[protect]\nkeep_newest = 1\n"


async def snapshots_of_a_vm(client: Client, count: int = 2) -> list[dict[str, Any]]:
    """Return the ready snapshots, newest first, of a VM that has so many of them."""
    page = await call_tool(client, "list_snapshots", state="ready", limit=100)
    by_vm: dict[int, list[dict[str, Any]]] = {}
    for snapshot in page["snapshots"]:
        by_vm.setdefault(snapshot["vm_id"], []).append(snapshot)
    return next(found for found in by_vm.values() if len(found) == count)


async def delete(client: Client, snapshot: dict[str, Any]) -> dict[str, Any]:
    commit, _ = await make_plan(client, "delete_snapshot", snapshot)
    return await call_tool(client, "delete_snapshot", **commit)


async def read_state(client: Client, snapshot_id: int) -> str:
    page = await call_tool(client, "list_snapshots", limit=100)
    return next(row["state"] for row in page["snapshots"] if row["id"] == snapshot_id)


@pytest.mark.parametrize("only_lists", [True, False])
@pytest.mark.parametrize("policy", [KEEP_LAST_COPY, KEEP_NEWEST])
async def test_the_last_copy_is_kept_although_the_cloud_shows_another(
    world: World, policy: str, *, only_lists: bool
) -> None:
    set_policy(world, policy)
    async with world.client() as client:
        newest, oldest = await snapshots_of_a_vm(client)
        victim, copy = (oldest, newest) if policy == KEEP_NEWEST else (newest, oldest)
        async with stale_reads(world, only_lists=only_lists):
            await delete(client, victim)
            text = await call_tool_error(client, "delete_snapshot", snapshot_id=copy["id"])
    assert "Nothing was changed" in text
    assert len(world.writes) == 1


async def test_every_answer_about_the_other_snapshot_says_that_it_is_the_last(
    world: World, client: Client
) -> None:
    victim, copy = await snapshots_of_a_vm(client)
    async with stale_reads(world):
        await delete(client, victim)
        details, text = await call_tool_with_text(
            client, "inspect_snapshot", snapshot_id=copy["id"]
        )
        _, plan = await make_plan(client, "delete_snapshot", copy)
    assert details["last_ready_of_vm"]
    assert details["newest_of_vm"]
    assert "It is the last ready snapshot of its VM." in text
    assert plan["plan"]["last_ready_of_vm"]
    assert plan["plan"]["newer_of_vm"] == 0


async def test_a_deleted_snapshot_is_shown_as_being_deleted(world: World, client: Client) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    async with stale_reads(world):
        await delete(client, victim)
        assert await read_state(client, victim["id"]) == "deleting"
        ready = await call_tool(client, "list_snapshots", state="ready", limit=100)
        assert victim["id"] not in {row["id"] for row in ready["snapshots"]}
        details, text = await call_tool_with_text(
            client, "inspect_snapshot", snapshot_id=victim["id"]
        )
        assert details["state"] == "deleting"
        assert not details["last_ready_of_vm"]
        assert not details["newest_of_vm"]
        assert "This server sent its deletion at 2026-11-20 12:00 UTC" in text
        assert "newest ready snapshot" not in text
        resource = await client.read_resource(f"snapshot://{victim['id']}")
        assert "deleting" in resource.contents[0].model_dump_json()


@pytest.mark.parametrize("tool", ["delete_snapshot", "restore_snapshot", "create_image"])
async def test_nothing_new_begins_with_a_deleted_snapshot(
    world: World, client: Client, tool: str
) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    arguments = {
        "delete_snapshot": {},
        "restore_snapshot": {"new_vm_name": "back-again"},
        "create_image": {"name": "base-image"},
    }[tool]
    name = "create_image_from_snapshot" if tool == "create_image" else tool
    async with stale_reads(world):
        await delete(client, victim)
        text = await call_tool_error(client, name, snapshot_id=victim["id"], **arguments)
    assert "being deleted" in text
    assert len(world.writes) == 1


async def test_retention_neither_counts_nor_deletes_a_deleted_snapshot(
    world: World, client: Client
) -> None:
    newest, oldest = await snapshots_of_a_vm(client)
    async with stale_reads(world):
        await delete(client, newest)
        plan = await call_tool(client, "plan_retention", keep_last=1, vm_id=newest["vm_id"])
    decisions = {row["id"]: row["keep"] for row in plan["decisions"]}
    assert decisions.get(oldest["id"], True)
    assert decisions.get(newest["id"], True)
    assert plan["delete_count"] == 0


async def test_deletions_of_a_batch_count_too(world: World, client: Client) -> None:
    await call_tool(client, "list_snapshots")
    async with stale_reads(world):
        plan = await call_tool(client, "plan_retention", keep_last=1)
        report = await call_tool(
            client, "apply_retention", plan_token=plan["plan_token"], confirm=plan["confirm_with"]
        )
        assert report["pending"]
        for deleted in report["pending"]:
            assert await read_state(client, deleted["id"]) == "deleting"
        again = await call_tool(client, "plan_retention", keep_last=1)
    assert again["delete_count"] == 0


async def test_a_restarted_server_and_another_one_know_the_deletions(world: World) -> None:
    async with world.client() as other, world.client("legacy") as client:
        await call_tool(other, "list_snapshots")
        victim, copy = await snapshots_of_a_vm(client)
        async with stale_reads(world):
            await delete(client, victim)
            assert await read_state(other, victim["id"]) == "deleting"
            async with world.client() as restarted:
                assert await read_state(restarted, victim["id"]) == "deleting"
                details = await call_tool(restarted, "inspect_snapshot", snapshot_id=copy["id"])
    assert details["last_ready_of_vm"]


async def test_a_completion_does_not_offer_a_deleted_snapshot(world: World, client: Client) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    reference = ResourceTemplateReference(uri="snapshot://{id}")
    argument = {"name": "id", "value": str(victim["id"])}
    async with stale_reads(world):
        before = await client.complete(reference, argument)
        await delete(client, victim)
        after = await client.complete(reference, argument)
    assert before.completion.values == [str(victim["id"])]
    assert after.completion.values == []


async def test_the_review_does_not_count_a_deleted_snapshot(world: World, client: Client) -> None:
    newest, oldest = await snapshots_of_a_vm(client)
    async with stale_reads(world):
        before = await call_tool(client, "review_snapshots", recent_days=365)
        for snapshot in (newest, oldest):
            await delete(client, snapshot)
        after = await call_tool(client, "review_snapshots", recent_days=365)
    assert json.dumps(before) != json.dumps(after)


async def test_a_deletion_that_failed_in_the_cloud_can_be_repeated_after_a_day(
    world: World, client: Client
) -> None:
    victim, copy = await snapshots_of_a_vm(client)
    async with stale_reads(world):
        await delete(client, victim)
        world.manual_clock.advance(hours=25)
        details, text = await call_tool_with_text(
            client, "inspect_snapshot", snapshot_id=victim["id"]
        )
        assert details["state"] == "ready"
        assert not details["last_ready_of_vm"]
        assert "This server sent its deletion at 2026-11-20 12:00 UTC" in text
        of_copy = await call_tool(client, "inspect_snapshot", snapshot_id=copy["id"])
        assert of_copy["last_ready_of_vm"]
        _, plan = await make_plan(client, "delete_snapshot", victim)
    assert any("This server sent its deletion" in line for line in plan["plan"]["warnings"])


async def write_ledger(
    world: World, snapshot_id: int, arguments: dict[str, Any], *events: str
) -> None:
    ledger = open_sqlite_ledger(world.folder / LEDGER_FILE, world.manual_clock.now)
    attempt = Attempt(f"own-{snapshot_id}", "delete_snapshot", snapshot_id, arguments, "local", "")
    for event in events:
        await ledger.record(event, attempt)  # pyright: ignore[reportArgumentType] - an event


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (("sent",), "deleting"),
        (("sent", "done"), "deleting"),
        (("sent", "unknown"), "deleting"),
        (("sent", "failed"), "ready"),
        (("planned",), "ready"),
        (("refused",), "ready"),
    ],
)
async def test_only_a_deletion_that_was_sent_and_did_not_fail_counts(
    world: World, client: Client, events: tuple[str, ...], state: str
) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    await write_ledger(world, victim["id"], {"cloud": "embedded"}, *events)
    assert await read_state(client, victim["id"]) == state
    details = await call_tool(client, "inspect_snapshot", snapshot_id=victim["id"])
    assert details["state"] == state


async def test_an_unknown_outcome_can_be_checked_after_ten_minutes(
    world: World, client: Client
) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    await write_ledger(world, victim["id"], {"cloud": "embedded"}, "sent", "unknown")
    world.manual_clock.advance(minutes=11)
    details = await call_tool(client, "inspect_snapshot", snapshot_id=victim["id"])
    assert details["state"] == "ready"
    assert details["snapshot"]["deletion_sent_at"].startswith("2026-11-20T12:00")
    assert await read_state(client, victim["id"]) == "deleting"


async def test_a_deletion_on_another_cloud_does_not_count(world: World, client: Client) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    await write_ledger(world, victim["id"], {"cloud": "https://cloud.example/v1"}, "sent", "done")
    assert await read_state(client, victim["id"]) == "ready"


async def test_a_deletion_by_an_earlier_version_counts_for_a_day(
    world: World, client: Client
) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    await write_ledger(world, victim["id"], {}, "sent", "done")
    assert await read_state(client, victim["id"]) == "deleting"
    world.manual_clock.advance(hours=25)
    assert await read_state(client, victim["id"]) == "ready"
    details = await call_tool(client, "inspect_snapshot", snapshot_id=victim["id"])
    assert "deletion_sent_at" not in details["snapshot"]


async def test_the_cloud_cannot_claim_a_deletion_by_this_server(
    world: World, client: Client
) -> None:
    async def claim(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if "/core/snapshots/" not in request.url.path:
            return response
        body = json.loads(await response.aread())
        body["snapshot"]["deletion_sent_at"] = "2026-11-19T12:00:00Z"
        body["snapshot"]["deletionSentAt"] = "2026-11-19T12:00:00Z"
        return httpx.Response(200, json=body)

    victim, _ = await snapshots_of_a_vm(client)
    world.tamper(claim)
    details = await call_tool(client, "inspect_snapshot", snapshot_id=victim["id"])
    assert "deletion_sent_at" not in details["snapshot"]


async def test_without_a_ledger_reads_still_work_and_writes_do_not(
    world: World, client: Client
) -> None:
    victim, _ = await snapshots_of_a_vm(client)
    for file in world.folder.glob("ledger.db*"):
        file.unlink()
    (world.folder / LEDGER_FILE).mkdir()
    assert await read_state(client, victim["id"]) == "ready"
    text = await call_tool_error(client, "delete_snapshot", snapshot_id=victim["id"])
    assert "The ledger cannot be used" in text
    assert world.writes == []


async def test_a_429_does_not_make_a_deletion_stop_itself(world: World, client: Client) -> None:
    answers = iter([429, 429])

    async def busy(request: httpx.Request) -> httpx.Response | None:
        status = next(answers, None) if request.method == "DELETE" else None
        return httpx.Response(status, json={}) if status else None

    victim, _ = await snapshots_of_a_vm(client)
    commit, _ = await make_plan(client, "delete_snapshot", victim)
    world.fail(busy)
    result = await call_tool(client, "delete_snapshot", **commit)
    assert result["outcome"] in ("deleted", "pending")
    with closing(sqlite3.connect(world.cloud_file)) as cloud:
        query = "SELECT count(*) FROM snapshots WHERE id = ?"
        assert cloud.execute(query, (victim["id"],)).fetchone() == (0,)


async def test_a_deletion_of_a_batch_is_not_stopped_by_its_own_429(
    world: World, client: Client
) -> None:
    statuses = iter([429, 429])

    async def busy(request: httpx.Request) -> httpx.Response | None:
        status = next(statuses, None) if request.method == "DELETE" else None
        return httpx.Response(status, json={}) if status else None

    plan = await call_tool(client, "plan_retention", keep_last=1)
    world.fail(busy)
    report = await call_tool(
        client, "apply_retention", plan_token=plan["plan_token"], confirm=plan["confirm_with"]
    )
    done = [*report.get("deleted", ()), *report.get("pending", ())]
    assert (len(done), report.get("skipped", [])) == (plan["delete_count"], [])


@pytest.mark.parametrize("batch", [True, False])
async def test_a_deletion_does_not_concern_a_cloud_that_was_reset(
    world: World, *, batch: bool
) -> None:
    async with world.client() as client:
        victim, _ = await snapshots_of_a_vm(client)
        if batch:
            plan = await call_tool(client, "plan_retention", keep_last=1, vm_id=victim["vm_id"])
            commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            await call_tool(client, "apply_retention", **commit)
            victim = next(row for row in plan["decisions"] if not row["keep"])
        else:
            await delete(client, victim)
    for file in world.folder.glob("cloud.db*"):
        file.unlink()
    world.manual_clock.advance(hours=20)  # its snapshots are as old as before
    async with world.client() as client:
        assert await read_state(client, victim["id"]) == "ready"
        details = await call_tool(client, "inspect_snapshot", snapshot_id=victim["id"])
    assert details["state"] == "ready"
    assert "deletion_sent_at" not in details["snapshot"]
