"""Names just used are taken, and a repeated create_snapshot returns the first result."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from snapshot_mcp.ledger.chain import Attempt
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot
from tests.tools.stale_cloud import stale_reads

pytestmark = pytest.mark.one_era


async def creation(client: Client, **changes: object) -> dict[str, object]:
    arguments = await creation_arguments(client)
    return arguments | {"labels": ["keep"], "description": "Before.", "wait_seconds": 60} | changes


async def finish_snapshots(world: World) -> None:
    """Let every snapshot become ready."""
    world.manual_clock.advance(minutes=2)


@pytest.mark.parametrize("only_lists", [True, False])
async def test_a_repeated_creation_returns_the_first_result(
    world: World, client: Client, *, only_lists: bool
) -> None:
    arguments = await creation(client, wait_seconds=0)
    async with stale_reads(world, only_lists=only_lists):
        first = await call_tool(client, "create_snapshot", **arguments)
        await finish_snapshots(world)
        again, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert again["snapshot"]["id"] == first["snapshot"]["id"]
    assert again["repeated"]
    assert "repeated" not in first
    assert "An equal call made this snapshot, taken 2026-11-20 12:00 UTC" in text
    assert "nothing was sent now" in text
    assert again["outcome"] == ("created" if only_lists else "pending")
    assert len(world.writes) == 1
    assert [row.event for row in await world.attempts()] == ["sent", "done"]


async def test_a_repetition_waits_for_the_snapshot_of_the_first(
    world: World, client: Client
) -> None:
    arguments = await creation(client, wait_seconds=0)
    first = await call_tool(client, "create_snapshot", **arguments)
    again = await call_tool(client, "create_snapshot", **arguments | {"wait_seconds": 60})
    assert (first["outcome"], again["outcome"]) == ("pending", "created")
    assert again["snapshot"]["id"] == first["snapshot"]["id"]
    assert len(world.writes) == 1


async def test_concurrent_repetitions_create_one_snapshot(world: World, client: Client) -> None:
    arguments = await creation(client)
    results: list[dict[str, Any]] = []

    async def create() -> None:
        results.append(await call_tool(client, "create_snapshot", **arguments))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(create)
    assert len({result["snapshot"]["id"] for result in results}) == 1
    assert sorted(result.get("repeated", False) for result in results) == [False, True, True]
    assert len(world.writes) == 1


async def test_another_server_on_the_ledger_returns_the_first_result(world: World) -> None:
    async with world.client() as one, world.client("legacy") as other:
        arguments = await creation(one)
        first = await call_tool(one, "create_snapshot", **arguments)
        again = await call_tool(other, "create_snapshot", **arguments)
    assert again["snapshot"]["id"] == first["snapshot"]["id"]
    assert len(world.writes) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["other"]},
        {"labels": []},
        {"description": "After."},
        {"vm_id": 793702},
    ],
)
async def test_another_call_with_the_same_name_is_refused_with_the_id(
    world: World, client: Client, changes: dict[str, object]
) -> None:
    arguments = await creation(client)
    async with stale_reads(world):
        first = await call_tool(client, "create_snapshot", **arguments)
        text = await call_tool_error(client, "create_snapshot", **arguments | changes)
    used = 'This server used the name "before-upgrade-x" at 12:00 UTC for snapshot'
    assert f"{used} {first['snapshot']['id']}." in text
    assert "Nothing was changed" in text
    assert len(world.writes) == 1


async def test_a_call_after_ten_minutes_is_refused_with_the_id(
    world: World, client: Client
) -> None:
    arguments = await creation(client)
    first = await call_tool(client, "create_snapshot", **arguments)
    world.manual_clock.advance(minutes=11)
    text = await call_tool_error(client, "create_snapshot", **arguments)
    name = f'"before-upgrade-x" exists already: snapshot {first["snapshot"]["id"]}.'
    assert name in text
    assert len(world.writes) == 1


async def record(world: World, arguments: dict[str, object], principal: str, *events: str) -> None:
    """Record an attempt of another process."""
    ledger = open_sqlite_ledger(world.folder / LEDGER_FILE, world.manual_clock.now)
    values: dict[str, Any] = {
        "name": arguments["name"],
        "description": "Before.",
        "labels": ["keep"],
        "allow_interruption": True,
        "cloud": "embedded",
    }
    vm_id = arguments["vm_id"]
    assert isinstance(vm_id, int)
    attempt = Attempt("another", "create_snapshot", vm_id, values, principal, "arguments")
    for event in events:
        await ledger.record(event, attempt)  # pyright: ignore[reportArgumentType] - an event


@pytest.mark.parametrize("events", [["sent"], ["sent", "unknown"]])
async def test_a_repetition_of_an_open_call_says_how_to_check(
    world: World, client: Client, events: list[str]
) -> None:
    arguments = await creation(client)
    await record(world, arguments, "local", *events)
    result = await call_tool(client, "create_snapshot", **arguments)
    assert result["outcome"] == "unknown"
    assert (
        "An equal call was sent at 12:00 UTC, and its outcome is not known."
        in (result["next_step"])
    )
    assert "Call list_snapshots with search" in result["next_step"]
    assert world.writes == []


async def test_a_call_that_failed_may_be_sent_again(world: World, client: Client) -> None:
    arguments = await creation(client)
    await record(world, arguments, "local", "sent", "failed")
    result = await call_tool(client, "create_snapshot", **arguments)
    assert result["outcome"] == "created"
    assert "repeated" not in result
    assert len(world.writes) == 1


@pytest.mark.parametrize("events", [["sent"], ["sent", "unknown"], ["sent", "done"]])
async def test_the_name_of_another_principal_is_taken(
    world: World, client: Client, events: list[str]
) -> None:
    arguments = await creation(client)
    await record(world, arguments, "someone-else", *events)
    text = await call_tool_error(client, "create_snapshot", **arguments)
    assert 'This server used the name "before-upgrade-x" at 12:00 UTC' in text
    assert world.writes == []


async def test_a_name_on_another_cloud_is_free(world: World, client: Client) -> None:
    arguments = await creation(client)
    ledger = open_sqlite_ledger(world.folder / LEDGER_FILE, world.manual_clock.now)
    values = {"name": "before-upgrade-x", "cloud": "https://cloud.example/v1"}
    await ledger.record("sent", Attempt("other", "create_snapshot", 1, values, "local", ""))
    result = await call_tool(client, "create_snapshot", **arguments)
    assert result["outcome"] == "created"


async def test_a_snapshot_that_this_server_deleted_is_created_again(client: Client) -> None:
    arguments = await creation(client)
    first = await call_tool(client, "create_snapshot", **arguments)
    commit, _ = await make_plan(client, "delete_snapshot", first["snapshot"])
    await call_tool(client, "delete_snapshot", **commit)
    again = await call_tool(client, "create_snapshot", **arguments)
    assert again["outcome"] == "created"
    assert again["snapshot"]["id"] != first["snapshot"]["id"]
    assert "repeated" not in again


async def test_a_snapshot_that_the_cloud_does_not_find_is_not_created_again(
    world: World, client: Client
) -> None:
    arguments = await creation(client, wait_seconds=0)
    first = await call_tool(client, "create_snapshot", **arguments)
    with closing(sqlite3.connect(world.cloud_file)) as cloud, cloud:
        cloud.execute("DELETE FROM snapshots WHERE id = ?", (first["snapshot"]["id"],))
    again = await call_tool(client, "create_snapshot", **arguments)
    assert (again["outcome"], again["snapshot"]["id"]) == ("pending", first["snapshot"]["id"])
    assert len(world.writes) == 1


async def test_the_name_of_a_new_vm_is_taken_although_the_list_is_stale(
    world: World, client: Client
) -> None:
    snapshot, other = await ready_snapshot(client), await ready_snapshot(client, 1)
    async with stale_reads(world, only_lists=True):
        commit, _ = await make_plan(client, "restore_snapshot", snapshot)
        restored = await call_tool(client, "restore_snapshot", **commit)
        for target in (snapshot, other):
            text = await call_tool_error(
                client, "restore_snapshot", snapshot_id=target["id"], new_vm_name="back-again"
            )
            number = restored["virtual_machine"]["id"]
            assert f'the name "back-again" at 12:00 UTC for VM {number}.' in text
    assert len(world.writes) == 1


async def test_a_plan_with_the_name_of_another_restore_is_refused(
    world: World, client: Client
) -> None:
    snapshot, other = await ready_snapshot(client), await ready_snapshot(client, 1)
    async with stale_reads(world, only_lists=True):
        first, _ = await make_plan(client, "restore_snapshot", snapshot)
        second, _ = await make_plan(client, "restore_snapshot", other)
        await call_tool(client, "restore_snapshot", **first)
        text = await call_tool_error(client, "restore_snapshot", **second)
    assert 'the name "back-again" at 12:00 UTC for VM' in text
    assert len(world.writes) == 1


async def test_the_name_of_an_image_is_taken_although_the_list_is_stale(
    world: World, client: Client
) -> None:
    snapshot, other = await ready_snapshot(client), await ready_snapshot(client, 1)
    tool = "create_image_from_snapshot"
    async with stale_reads(world):
        await call_tool(client, tool, snapshot_id=snapshot["id"], name="base-image")
        text = await call_tool_error(client, tool, snapshot_id=other["id"], name="base-image")
    assert 'the name "base-image" at 12:00 UTC for image' in text
    assert len(world.writes) == 1


async def test_a_name_that_the_cloud_shows_as_taken_is_refused_with_the_id(client: Client) -> None:
    existing = await ready_snapshot(client)
    arguments = await creation(client, name=existing["name"])
    text = await call_tool_error(client, "create_snapshot", **arguments)
    assert f"exists already: snapshot {existing['id']}." in text


async def test_a_creation_that_is_not_accepted_yet_is_not_stopped_by_its_own_name(
    world: World, client: Client
) -> None:
    statuses = iter([429, 429])

    async def busy(request: httpx.Request) -> httpx.Response | None:
        status = next(statuses, None) if request.method == "POST" else None
        return httpx.Response(status, json={}) if status else None

    arguments = await creation(client)
    world.fail(busy)
    result = await call_tool(client, "create_snapshot", **arguments)
    assert result["outcome"] == "created"
    assert "repeated" not in result


Change = dict[str, object]


async def tamper_with_snapshots(world: World, change: Change, *, only_reply: bool = False) -> None:
    """Let the cloud return snapshots with other fields; None removes a field."""

    async def tampered(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        if "snapshot" in body and not (only_reply and request.method == "GET"):
            body["snapshot"].update(change)
            for name in [name for name in change if change[name] is None]:
                del body["snapshot"][name]
        return httpx.Response(response.status_code, json=body)

    world.tamper(tampered)


@pytest.mark.parametrize("wait_seconds", [0, 60])
async def test_dropped_labels_are_reported_and_recorded(
    world: World, client: Client, wait_seconds: int
) -> None:
    arguments = await creation(client, labels=["keep", "gold"], wait_seconds=wait_seconds)
    await tamper_with_snapshots(world, {"labels": ["gold"]})
    result, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert result["labels_stored"] is False
    assert 'Warning: the cloud did not store these labels: "keep".' in text
    assert (await world.attempts())[-1].reason == 'labels not stored: "keep"'


@pytest.mark.parametrize("wait_seconds", [0, 60])
@pytest.mark.parametrize("labels", [None, []])
async def test_labels_that_only_the_reply_omits_are_stored(
    world: World, client: Client, wait_seconds: int, labels: list[str] | None
) -> None:
    arguments = await creation(client, wait_seconds=wait_seconds)
    await tamper_with_snapshots(world, {"labels": labels}, only_reply=True)
    result, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert result["labels_stored"] is True
    assert "labels" not in text


async def test_labels_that_the_cloud_never_shows_are_not_claimed(
    world: World, client: Client
) -> None:
    arguments = await creation(client)
    await tamper_with_snapshots(world, {"labels": None})
    result, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert "labels_stored" not in result
    assert "Whether its labels were stored is not known." in text
    assert (await world.attempts())[-1].reason == "the reply does not show its labels"


async def test_a_changed_description_is_reported_and_recorded(world: World, client: Client) -> None:
    arguments = await creation(client)
    await tamper_with_snapshots(world, {"description": "Bef"})
    _, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert "The cloud stored another description." in text
    assert (await world.attempts())[-1].reason == "another description was stored"


async def test_labels_that_were_stored_are_confirmed(world: World, client: Client) -> None:
    result = await call_tool(client, "create_snapshot", **await creation(client))
    assert result["labels_stored"] is True
    without = await creation(client, name="without-labels", labels=[])
    assert "labels_stored" not in await call_tool(client, "create_snapshot", **without)
    assert {row.reason for row in await world.attempts()} == {""}


async def test_dropped_labels_of_an_image_are_reported_and_recorded(world: World) -> None:
    misbehaving = {"embedded_misbehaviour": "dropped-labels"}
    world.settings = world.settings.model_copy(update=misbehaving)
    async with world.client() as client:
        snapshot = await ready_snapshot(client)
        result, text = await call_tool_with_text(
            client,
            "create_image_from_snapshot",
            snapshot_id=snapshot["id"],
            name="base-image",
            labels=["keep"],
        )
    assert result["labels_stored"] is False
    assert 'did not store these labels: "keep"' in text
    assert "labels not stored" in (await world.attempts())[-1].reason


async def test_the_answer_says_whether_the_vm_is_running_again(client: Client) -> None:
    arguments = await creation(client)
    result, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert result["vm_status"] == "ACTIVE"
    assert f"VM {arguments['vm_id']} is running again." in text


async def test_the_answer_says_that_the_vm_is_not_running_again(
    world: World, client: Client
) -> None:
    async def stop(_: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        if "instance" in body and world.writes:
            body["instance"]["status"] = "SHUTOFF"
        return httpx.Response(response.status_code, json=body)

    arguments = await creation(client)
    world.tamper(stop)
    result, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert result["vm_status"] == "SHUTOFF"
    assert f"VM {arguments['vm_id']} is not running again: it is SHUTOFF." in text


async def test_an_unreadable_vm_is_not_said_to_be_running(world: World, client: Client) -> None:
    async def fail(request: httpx.Request) -> httpx.Response | None:
        is_vm = "/core/virtual-machines/" in request.url.path and request.method == "GET"
        return httpx.Response(403, json={}) if is_vm and world.writes else None

    arguments = await creation(client)
    world.fail(fail)
    result, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert "vm_status" not in result
    assert f"Whether VM {arguments['vm_id']} is running again is not known." in text
