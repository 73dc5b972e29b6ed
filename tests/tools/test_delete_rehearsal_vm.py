"""delete_rehearsal_vm: deletes the VM of a rehearsal of this server, and no other VM."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from mcp import Client
from pydantic import SecretStr

from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.chain import Attempt
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.operations.recovery import PROCESSING_LIMIT
from snapshot_mcp.settings.environment import EMBEDDED_API_KEY, LEDGER_FILE
from tests.conftest import World, call_tool, call_tool_error
from tests.postgres.server import Server
from tests.tools.helpers import (
    FakePerson,
    change_cloud,
    client_with_person,
    creation_arguments,
    find_vm,
    ready_snapshot,
    set_policy,
)

pytestmark = pytest.mark.one_era

TOOL = "delete_rehearsal_vm"
Change = Callable[[dict[str, Any]], None]


async def restore(client: Client, *, rehearsal: bool = True, name: str = "test-it") -> int:
    """Restore the newest snapshot, and return the id of the new VM."""
    snapshot = await ready_snapshot(client)
    arguments = {"snapshot_id": snapshot["id"], "new_vm_name": name, "rehearsal": rehearsal}
    plan = await call_tool(client, "restore_snapshot", **arguments)
    commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    result = await call_tool(client, "restore_snapshot", **arguments, **commit)
    if rehearsal:
        assert (
            f"delete_rehearsal_vm with vm_id {result['virtual_machine']['id']}"
            in (result["next_step"])
        )
    return result["virtual_machine"]["id"]


async def commit_deletion(client: Client, vm_id: int) -> dict[str, Any]:
    plan = await call_tool(client, TOOL, vm_id=vm_id)
    commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    return await call_tool(client, TOOL, vm_id=vm_id, **commit)


async def vm_ids(client: Client) -> set[int]:
    page = await call_tool(client, "list_virtual_machines", limit=100)
    return {vm["id"] for vm in page["virtual_machines"]}


def vm_deletions(world: World) -> list[str]:
    return [write for write in world.writes if "DELETE" in write and "virtual-machines" in write]


def tamper_with_vm(world: World, vm_id: int, change: Change) -> None:
    """Change the cloud's answers about one VM."""

    async def tamper(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith(f"/virtual-machines/{vm_id}"):
            return response
        body = json.loads(await response.aread())
        if "instance" in body:
            change(body["instance"])
        return httpx.Response(response.status_code, json=body, request=request)

    world.tamper(tamper)


async def test_a_rehearsal_vm_is_deleted_after_a_plan(world: World, client: Client) -> None:
    before = await vm_ids(client)
    vm_id = await restore(client)
    plan = await call_tool(client, TOOL, vm_id=vm_id)
    assert plan["outcome"] == "confirmation_required"
    assert plan["confirm_with"] == plan["plan"]["name"] == "rehearsal-test-it"
    assert plan["plan"]["vm_id"] == vm_id
    assert plan["plan"]["snapshot_id"] == (await ready_snapshot(client))["id"]
    assert plan["plan"]["saved_per_hour_estimate"] > 0
    assert plan["plan"]["flavor"]
    assert vm_deletions(world) == []
    commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    result = await call_tool(client, TOOL, vm_id=vm_id, **commit)
    assert result["outcome"] == "deleted"
    assert len(vm_deletions(world)) == 1
    assert await vm_ids(client) == before
    assert "was already used" in await call_tool_error(client, TOOL, vm_id=vm_id, **commit)
    last = (await world.attempts())[-1]
    assert (last.tool, last.event, last.target) == (TOOL, "done", vm_id)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_person_is_asked_with_the_facts_and_can_decline(world: World, mode: str) -> None:
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        person.will_type((await ready_snapshot(client))["name"])
        vm_id = await restore(client)
        person.questions.clear()
        person.reply = FakePerson().reply
        plan = await call_tool(client, TOOL, vm_id=vm_id)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        error = await call_tool_error(client, TOOL, vm_id=vm_id, **commit)
        assert "declined" in error
        assert vm_deletions(world) == []
        (question,) = person.questions
        assert f'Delete VM {vm_id} "rehearsal-test-it" and its data permanently.' in question
        assert "per hour" in question
        assert question.endswith("type exactly: rehearsal-test-it")
        person.will_type("rehearsal-test-it")
        assert (await commit_deletion(client, vm_id))["outcome"] == "deleted"


async def test_wrong_words_delete_nothing(world: World, client: Client) -> None:
    vm_id = await restore(client)
    plan = await call_tool(client, TOOL, vm_id=vm_id)
    for words in ("yes", str(vm_id), "rehearsal"):
        commit = {"plan_token": plan["plan_token"], "confirm": words}
        error = await call_tool_error(client, TOOL, vm_id=vm_id, **commit)
        assert "rehearsal-test-it" not in error
    assert vm_deletions(world) == []


async def test_no_other_vm_is_deleted(world: World, client: Client) -> None:
    rehearsal = await restore(client)
    restored = await restore(client, rehearsal=False, name="rehearsal-by-hand")
    plan = await call_tool(client, TOOL, vm_id=rehearsal)
    commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    for vm_id in (await vm_ids(client)) - {rehearsal} | {1}:
        error = await call_tool_error(client, TOOL, vm_id=vm_id)
        assert f"The ledger has no rehearsal that created VM {vm_id}." in error
        assert "Nothing was changed" in error
        error = await call_tool_error(client, TOOL, vm_id=vm_id, **commit)
        assert "for another tool or another snapshot" in error
    assert restored in await vm_ids(client)
    assert vm_deletions(world) == []


CHANGES: list[tuple[Change, str]] = [
    (lambda vm: vm.update(name="rehearsal-other"), "is not as the rehearsal created it"),
    (lambda vm: vm.update(name="rehearsal-test-it\u200b"), "is not as the rehearsal created it"),
    (lambda vm: vm.pop("name"), "is not as the rehearsal created it"),
    (lambda vm: vm.update(created_at="2026-11-19T00:00:00Z"), "is not as the rehearsal created it"),
    (lambda vm: vm.update(created_at=None), "is not as the rehearsal created it"),
    (lambda vm: vm.update(created_at="0001-01-01T00:00:00Z"), "is not as the rehearsal created it"),
    (lambda vm: vm.update(volume_attachments=[{"volume": {"id": 1}}]), "volumes are attached"),
    (lambda vm: vm.update(volume_attachments=[None]), "volumes are attached"),
    (lambda vm: vm.update(volume_attachments=None), "volumes are attached to it is not known"),
    (lambda vm: vm.pop("volume_attachments"), "volumes are attached to it is not known"),
    (lambda vm: vm.update(floating_ip="198.51.100.9"), "it has a floating IP"),
    (lambda vm: vm.pop("floating_ip"), "whether it has a floating IP is not known"),
    (lambda vm: vm.update(floating_ip={"ip": "198.51.100.9"}), "floating IP is not known"),
    (lambda vm: vm.update(is_snapshotting=True), "a snapshot of it is in progress"),
    (lambda vm: vm.pop("is_snapshotting"), "or that is not known"),
    (lambda vm: vm.update(status="DELETING"), "being deleted already"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=range(len(CHANGES)))
@pytest.mark.sampled(3)
async def test_a_vm_that_differs_or_is_used_is_neither_planned_nor_deleted(
    world: World, change: Change, reason: str
) -> None:
    async with world.client() as client:
        vm_id = await restore(client)
        plan = await call_tool(client, TOOL, vm_id=vm_id)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        tamper_with_vm(world, vm_id, change)
        for arguments in ({}, commit):
            error = await call_tool_error(client, TOOL, vm_id=vm_id, **arguments)
            assert reason in error
            assert "Nothing was changed" in error
    assert vm_deletions(world) == []


async def test_a_vm_with_snapshots_is_not_deleted(world: World, client: Client) -> None:
    vm_id = await restore(client)
    plan = await call_tool(client, TOOL, vm_id=vm_id)
    world.manual_clock.advance(minutes=5)
    created = await creation_arguments(client)
    await call_tool(client, "create_snapshot", **created | {"vm_id": vm_id, "wait_seconds": 300})
    commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    for arguments in ({}, commit):
        error = await call_tool_error(client, TOOL, vm_id=vm_id, **arguments)
        assert "it has snapshots" in error
    assert vm_deletions(world) == []


async def replace_in_ledger(world: World, old: str, new: str) -> None:
    with closing(sqlite3.connect(world.folder / LEDGER_FILE)) as connection, connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(
            "UPDATE attempts SET arguments = replace(arguments, ?, ?) WHERE event = 'done'",
            (old, new),
        )


async def test_an_altered_row_proves_nothing(world: World) -> None:
    async with world.client() as client:
        vm_id = await restore(client)
        other = int(str((await find_vm(client, status="ACTIVE"))["id"]))
    assert other != vm_id
    await replace_in_ledger(world, str(vm_id), str(other))
    async with world.client() as client:
        for number in (vm_id, other):
            error = await call_tool_error(client, TOOL, vm_id=number)
            assert "The ledger was altered" in error
    assert vm_deletions(world) == []


async def test_the_ledger_of_another_cloud_or_no_ledger_proves_nothing(world: World) -> None:
    async with world.client() as client:
        vm_id = await restore(client)
    elsewhere = World(world.folder)
    elsewhere.settings = elsewhere.settings.model_copy(
        update={"api_key": SecretStr(EMBEDDED_API_KEY)}
    )
    async with elsewhere.client() as client:
        error = await call_tool_error(client, TOOL, vm_id=vm_id)
    assert "has no rehearsal that created VM" in error
    assert vm_deletions(elsewhere) == []


@pytest.mark.postgres
async def test_a_replica_deletes_the_vm_of_a_rehearsal_of_another_and_no_other_vm(
    world: World, postgres: Server
) -> None:
    url = SecretStr(postgres.create_database("rehearsals"))
    world.settings = world.settings.model_copy(update={"database_url": url})
    async with world.client() as first, world.client("legacy") as second:
        vm_id = await restore(first)
        kept = await restore(first, rehearsal=False, name="rehearsal-by-hand")
        plan = await call_tool(first, TOOL, vm_id=vm_id)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        error = await call_tool_error(second, TOOL, vm_id=kept)
        assert f"The ledger has no rehearsal that created VM {kept}." in error
        assert (await call_tool(second, TOOL, vm_id=vm_id, **commit))["outcome"] == "deleted"
        assert "was already used" in await call_tool_error(first, TOOL, vm_id=vm_id, **commit)
        assert kept in await vm_ids(first)
    assert len(vm_deletions(world)) == 1
    with open_ledger_backend(world.folder, url, world.manual_clock.now) as backend:
        rows = await backend.ledger.rows(tool=TOOL)
        assert await backend.ledger.verify() == []
    assert [(row.event, row.target) for row in rows] == [
        ("planned", vm_id),
        ("refused", kept),
        ("sent", vm_id),
        ("done", vm_id),
        ("refused", vm_id),
    ]
    assert not (world.folder / LEDGER_FILE).exists()


async def test_a_rehearsal_whose_reply_was_lost_proves_nothing(world: World) -> None:
    async def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/restore"):
            raise httpx.ReadError("lost")
        return response

    world.tamper(lose)
    async with world.client() as client:
        vm_id = await restore(client)  # found by its name
        error = await call_tool_error(client, TOOL, vm_id=vm_id)
    assert "has no rehearsal that created VM" in error
    assert vm_deletions(world) == []


async def test_the_policy_forbids_regions_and_the_tool(world: World) -> None:
    async with world.client() as client:
        vm_id = await restore(client)
    set_policy(world, '[allow]\nregions = ["NOWHERE-1"]')
    async with world.client() as client:
        assert "does not allow changes in this region" in await call_tool_error(
            client, TOOL, vm_id=vm_id
        )
    set_policy(world, '[allow]\ntools = ["list_snapshots"]')
    async with world.client() as client:
        assert "Unknown tool" in await call_tool_error(client, TOOL, vm_id=vm_id)
    assert vm_deletions(world) == []


async def test_a_lost_reply_to_the_deletion_is_resolved(world: World, client: Client) -> None:
    async def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "DELETE":
            raise httpx.ReadError("lost")
        return response

    vm_id = await restore(client)
    world.tamper(lose)
    assert (await commit_deletion(client, vm_id))["outcome"] == "deleted"
    assert len(vm_deletions(world)) == 1


async def left_open(world: World, vm_id: int) -> None:
    """Record a deletion whose process ended before it recorded the outcome."""
    ledger = open_sqlite_ledger(world.folder / LEDGER_FILE, world.manual_clock.now)
    with closing(ledger):
        await ledger.record("sent", Attempt("left", TOOL, vm_id, {}, "local", "arguments"))


@pytest.mark.parametrize("happened", [True, False])
async def test_a_deletion_left_open_by_a_crash_is_recorded_as_the_cloud_shows_it(
    world: World, *, happened: bool
) -> None:
    async with world.client() as client:
        vm_id = await restore(client)
        await left_open(world, vm_id)
    if happened:
        change_cloud(world, "DELETE FROM vms WHERE id = ?", vm_id)
    world.manual_clock.advance(seconds=PROCESSING_LIMIT.total_seconds() + 1)
    async with world.client() as client:
        await vm_ids(client)
    ends = [row.event for row in await world.ledger() if row.attempt == "left"]
    assert ends == ["sent", "done" if happened else "failed"]
    assert vm_deletions(world) == []


async def test_a_deletion_that_the_cloud_refuses_or_may_have_executed_is_reported(
    world: World, client: Client
) -> None:
    vm_id = await restore(client)
    answers = {
        "failed": httpx.Response(400, json={"status": False, "message": "in use"}),
        "unknown": httpx.Response(504),
    }
    for outcome, answer in answers.items():

        async def fail(
            request: httpx.Request, answer: httpx.Response = answer
        ) -> httpx.Response | None:
            return answer if request.method == "DELETE" else None

        plan = await call_tool(client, TOOL, vm_id=vm_id)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        world.fail(fail)
        if outcome == "failed":
            error = await call_tool_error(client, TOOL, vm_id=vm_id, **commit)
            assert "Nothing was changed" in error
        else:
            result = await call_tool(client, TOOL, vm_id=vm_id, **commit)
            assert result["outcome"] == outcome
            assert "list_virtual_machines" in result["next_step"]
        world.fail(None)
        assert (await world.attempts())[-1].event == outcome
    assert vm_id in await vm_ids(client)


async def test_a_slow_deletion_is_pending(world: World, client: Client) -> None:
    vm_id = await restore(client)

    async def accept(request: httpx.Request) -> httpx.Response | None:
        body = {"status": True, "message": "Instance is being deleted."}
        return httpx.Response(200, json=body) if request.method == "DELETE" else None

    plan = await call_tool(client, TOOL, vm_id=vm_id)
    commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    world.fail(accept)
    result = await call_tool(client, TOOL, vm_id=vm_id, **commit)
    assert result["outcome"] == "pending"
    assert "still shows the VM" in result["next_step"]


async def test_unreadable_snapshots_may_be_of_the_vm(world: World, client: Client) -> None:
    vm_id = await restore(client)

    async def damage(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/core/snapshots"):
            return response
        body = json.loads(await response.aread())
        body["snapshots"][0] = "damaged"
        return httpx.Response(response.status_code, json=body, request=request)

    world.tamper(damage)
    error = await call_tool_error(client, TOOL, vm_id=vm_id)
    assert "whether it has snapshots is not known" in error
    assert vm_deletions(world) == []


async def test_a_client_that_only_shows_the_panel_can_still_delete_it(world: World) -> None:
    async with world.client(panel=True) as client:
        error = await call_tool_error(client, TOOL, vm_id=1)
    assert "has no rehearsal" in error


async def test_the_review_names_the_tool(client: Client) -> None:
    await restore(client)
    result = await client.call_tool("review_snapshots", {})
    text = "".join(getattr(block, "text", "") for block in result.content)
    assert "billed until deleted (delete_rehearsal_vm): 1" in text
