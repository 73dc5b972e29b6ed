"""Changes between the last check of a write and the moment when the cloud accepts it."""

import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import ElicitResult

from snapshot_mcp.consent.write_once import MAX_CHECK_AGE_SECONDS
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import ERAS, ManualClock, World, call_tool, call_tool_error, result_text
from tests.tools.helpers import (
    FakePerson,
    change_cloud,
    client_with_person,
    creation_arguments,
    find_vm,
    ids_of,
    make_plan,
    make_retention_plan,
    ready_snapshot,
    set_policy,
)
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.one_era

Refusal = Callable[[httpx.Request], httpx.Response]

CHANGED = "changed before the cloud accepted it"
TARGET = 1704
"""A snapshot of VM 793705, which has newer ready ones."""
OTHERS_GONE = "DELETE FROM snapshots WHERE vm_id = 793705 AND id <> 1704"


def too_many_requests(request: httpx.Request) -> httpx.Response:
    return httpx.Response(429, json={"status": False, "message": "busy"}, request=request)


def refuse_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def change_at_first_write(
    world: World, change: Callable[[], None], refuse: Refusal = too_many_requests
) -> None:
    """Refuse the first write, and change something before it is repeated."""
    refused: list[httpx.Request] = []

    async def fault(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET" or refused:
            return None
        refused.append(request)
        change()
        return refuse(request)

    world.fail(fault)


async def attempt_events(world: World) -> list[str]:
    return [row.event for row in await world.attempts()]


async def commit_deletion(client: Client, target: int = TARGET) -> dict[str, object]:
    commit, _ = await make_plan(client, "delete_snapshot", {"id": target})
    return commit


@pytest.mark.parametrize("refuse", [too_many_requests, refuse_connection])
@pytest.mark.parametrize(
    ("policy", "change", "reason"),
    [
        (
            'labels = ["keep"]',
            "UPDATE snapshots SET labels = '[\"keep\"]' WHERE id = 1704",
            "Rule: protect.labels.",
        ),
        ("keep_last_copy = true", OTHERS_GONE, "Rule: protect.keep_last_copy."),
        (
            "keep_last_copy = true",
            "UPDATE snapshots SET outcome = 'ERROR' WHERE vm_id = 793705 AND id <> 1704",
            "Rule: protect.keep_last_copy.",
        ),
        (
            "keep_last_copy = true",
            "UPDATE snapshots SET outcome = 'DELETING' WHERE vm_id = 793705 AND id <> 1704",
            "Rule: protect.keep_last_copy.",
        ),
        ("keep_newest = 1", OTHERS_GONE, "Rule: protect.keep_newest."),
        (
            "",
            "UPDATE snapshots SET outcome = 'DELETING' WHERE id = 1704",
            "it is being deleted",
        ),
        ("", "DELETE FROM snapshots WHERE id = 1704", f"has no snapshot {TARGET}"),
    ],
)
@pytest.mark.sampled(3)
async def test_a_rule_that_applies_now_stops_a_deletion(
    world: World, refuse: Refusal, policy: str, change: str, reason: str
) -> None:
    set_policy(world, f"[protect]\n{policy}\n")
    async with world.client() as client:
        commit = await commit_deletion(client)
        change_at_first_write(world, lambda: change_cloud(world, change), refuse)
        text = await call_tool_error(client, "delete_snapshot", **commit)
        assert CHANGED in text.lower()
        assert reason in text
        assert "Nothing was changed." in text
        assert len(world.writes) == 1
        assert await attempt_events(world) == ["sent", "failed"]
        assert reason in (await world.attempts())[-1].reason
        assert "already used" in await call_tool_error(client, "delete_snapshot", **commit)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (OTHERS_GONE, "it is now the last ready snapshot of its VM"),
        (
            "UPDATE snapshots SET outcome = 'FAILED' WHERE vm_id = 793705 AND id <> 1704",
            "it is now the last ready snapshot of its VM",
        ),
        (
            "UPDATE snapshots SET outcome = 'ERROR' WHERE id = 1704",
            "status SUCCESS -> ERROR",
        ),
        ("UPDATE snapshots SET name = 'say \"yes\"' WHERE id = 1704", r'-> "say \"yes\""'),
        (
            "UPDATE snapshots SET labels = '[\"golden\"]' WHERE id = 1704",
            '-> "golden"',
        ),
        ("UPDATE snapshots SET description = 'the only one' WHERE id = 1704", "the only one"),
        ("UPDATE snapshots SET gigabytes = 99 WHERE id = 1704", "-> 99 GB"),
        (
            "UPDATE snapshots SET touched = began + 3600000000 WHERE id = 1704",
            "updated 2026-",
        ),
        (
            "INSERT INTO images VALUES (NULL, 1704, 'fresh', '[]', 1700000000000000)",
            'image none -> "fresh"',
        ),
        ("DELETE FROM vms WHERE id = 793705", "its VM is deleted now"),
    ],
)
async def test_a_deletion_whose_facts_change_gets_a_new_plan_that_names_them(
    world: World, client: Client, change: str, difference: str
) -> None:
    commit = await commit_deletion(client)
    change_at_first_write(world, lambda: change_cloud(world, change))
    again = await call_tool(client, "delete_snapshot", **commit)
    assert again["outcome"] == "confirmation_required"
    assert CHANGED in again["next_step"].lower()
    assert difference in again["next_step"]
    assert "Nothing was changed." in again["next_step"]
    assert len(world.writes) == 1
    assert await attempt_events(world) == ["sent", "failed"]
    assert "already used" in await call_tool_error(client, "delete_snapshot", **commit)
    fresh = {"plan_token": again["plan_token"], "confirm": again["confirm_with"]}
    result = await call_tool(client, "delete_snapshot", snapshot_id=TARGET, **fresh)
    assert result["outcome"] == "deleted"


async def test_the_copies_that_decide_are_read_one_by_one_after_the_list(
    world: World, client: Client
) -> None:
    """The other copies disappear after the list of them was read, before the first request."""
    commit = await commit_deletion(client)

    async def delete_after_list(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/core/snapshots"):
            await response.aread()
            change_cloud(world, OTHERS_GONE)
        return response

    world.tamper(delete_after_list)
    again = await call_tool(client, "delete_snapshot", **commit)
    assert again["outcome"] == "confirmation_required"
    assert "it is now the last ready snapshot of its VM" in again["next_step"]
    assert world.writes == []


async def test_the_target_is_read_last(world: World) -> None:
    """The label appears while the other copies are read; the new plan is not sent either."""
    set_policy(world, '[protect]\nlabels = ["keep"]\n')
    async with world.client() as client:
        commit = await commit_deletion(client)

        async def add_label(request: httpx.Request) -> httpx.Response | None:
            path = request.url.path
            if "/core/snapshots/" in path and not path.endswith(f"/{TARGET}"):
                change_cloud(world, "UPDATE snapshots SET labels = '[\"keep\"]' WHERE id=1704")
            return None

        world.fail(add_label)
        text = await call_tool_error(client, "delete_snapshot", **commit)
    assert "Rule: protect.labels." in text
    assert world.writes == []


async def test_a_plan_that_expires_while_the_cloud_is_busy_is_not_used(
    world: World, client: Client
) -> None:
    commit = await commit_deletion(client)
    world.manual_clock.advance(minutes=9, seconds=55)
    change_at_first_write(world, lambda: world.manual_clock.advance(seconds=6))
    text = await call_tool_error(client, "delete_snapshot", **commit)
    assert CHANGED in text.lower()
    assert "This plan has expired." in text
    assert len(world.writes) == 1
    assert await attempt_events(world) == ["sent", "failed"]


class RunningClock(ManualClock):
    """A clock whose monotonic time is real."""

    def monotonic(self) -> float:
        return time.monotonic()


async def test_a_change_while_the_ledger_is_busy_is_noticed(tmp_path: Path) -> None:
    """Another process holds the ledger after the last check, before the attempt is recorded."""
    world = World(tmp_path, RunningClock())
    reads: list[str] = []

    def hold_ledger(locked: threading.Event) -> None:
        with closing(sqlite3.connect(tmp_path / LEDGER_FILE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(MAX_CHECK_AGE_SECONDS + 0.3)
            change_cloud(world, OTHERS_GONE)
            connection.execute("ROLLBACK")

    async def fault(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith(f"/core/snapshots/{TARGET}"):
            reads.append(request.method)
            if len(reads) == 4:  # the last read of the check right before the request
                locked = threading.Event()
                holders.append(threading.Thread(target=hold_ledger, args=[locked]))
                holders[0].start()
                await anyio.to_thread.run_sync(locked.wait, ANSWER_TIMEOUT_SECONDS)
        return None

    holders: list[threading.Thread] = []
    async with world.client() as client:
        commit = await commit_deletion(client)
        world.fail(fault)
        again = await call_tool(client, "delete_snapshot", **commit)
    holders[0].join(ANSWER_TIMEOUT_SECONDS)
    assert again["outcome"] == "confirmation_required"
    assert "it is now the last ready snapshot of its VM" in again["next_step"]
    assert world.writes == []
    assert await attempt_events(world) == ["sent", "failed"]


async def test_a_write_that_was_not_accepted_does_not_use_up_its_own_hourly_limit(
    world: World,
) -> None:
    set_policy(world, "[limits]\ndeletes_per_hour = 1\nrestores_per_hour = 1\n")
    async with world.client() as client:
        commit = await commit_deletion(client)
        change_at_first_write(world, lambda: None)
        assert (await call_tool(client, "delete_snapshot", **commit))["outcome"] == "deleted"
        restore, _ = await make_plan(client, "restore_snapshot", await ready_snapshot(client))
        change_at_first_write(world, lambda: None)
        result = await call_tool(client, "restore_snapshot", **restore, wait_seconds=60)
        assert result["outcome"] == "restored"


NEW_VM = "UPDATE vms SET name = 'back-again', folded = 'back-again' WHERE id = 793705"


@pytest.mark.parametrize("refuse", [too_many_requests, refuse_connection])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (NEW_VM, 'A VM named "back-again" exists already'),
        ("UPDATE snapshots SET outcome = 'ERROR' WHERE id = 1704", "it is failed"),
        ("UPDATE snapshots SET outcome = 'DELETING' WHERE id = 1704", "it is being deleted"),
        ("DELETE FROM snapshots WHERE id = 1704", f"has no snapshot {TARGET}"),
    ],
)
@pytest.mark.sampled(3)
async def test_a_restore_that_became_impossible_is_not_repeated(
    world: World, client: Client, refuse: Refusal, change: str, reason: str
) -> None:
    commit, _ = await make_plan(client, "restore_snapshot", {"id": TARGET})
    change_at_first_write(world, lambda: change_cloud(world, change), refuse)
    text = await call_tool_error(client, "restore_snapshot", **commit)
    assert CHANGED in text.lower()
    assert reason in text
    assert len(world.writes) == 1
    assert await attempt_events(world) == ["sent", "failed"]


async def test_a_restore_whose_snapshot_changes_gets_a_new_plan(
    world: World, client: Client
) -> None:
    commit, _ = await make_plan(client, "restore_snapshot", {"id": TARGET})
    change = "UPDATE snapshots SET gigabytes = 99 WHERE id = 1704"
    change_at_first_write(world, lambda: change_cloud(world, change))
    again = await call_tool(client, "restore_snapshot", **commit)
    assert again["outcome"] == "confirmation_required"
    assert CHANGED in again["next_step"].lower()
    assert "-> 99 GB" in again["next_step"]
    assert len(world.writes) == 1


async def test_a_price_that_changes_asks_no_second_question(world: World, client: Client) -> None:
    commit, plan = await make_plan(client, "restore_snapshot", {"id": TARGET})
    assert plan["plan"]["price_per_hour_estimate"]

    async def raise_prices(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/pricebook"):
            await response.aread()
            prices = [price | {"value": "9.5"} for price in response.json()]
            return httpx.Response(200, json=prices, request=request)
        return response

    world.tamper(raise_prices)
    result = await call_tool(client, "restore_snapshot", **commit, wait_seconds=60)
    assert result["outcome"] == "restored"


@pytest.mark.parametrize("mode", ERAS)
async def test_facts_that_change_all_the_time_do_not_repeat_the_question(
    world: World, mode: str
) -> None:
    """While the person answers, a price changes, and another snapshot of the VM is deleted."""
    person, siblings = FakePerson(), [1719, 1716]

    async def raise_prices(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/pricebook"):
            await response.aread()
            prices = [price | {"value": "9.5"} for price in response.json()]
            return httpx.Response(200, json=prices, request=request)
        return response

    def answer(words: str) -> ElicitResult:
        world.tamper(raise_prices)
        change_cloud(world, "DELETE FROM snapshots WHERE id = ?", siblings.pop())
        return ElicitResult(action="accept", content={"words": words})

    async with client_with_person(world, mode, person) as client:
        restore, plan = await make_plan(client, "restore_snapshot", {"id": TARGET})
        person.reply = lambda _: answer(plan["confirm_with"])
        await call_tool(client, "restore_snapshot", **restore, wait_seconds=0)
        deletion, _ = await make_plan(client, "delete_snapshot", {"id": TARGET})
        result = await call_tool(client, "delete_snapshot", **deletion)
    assert result["outcome"] == "deleted"
    assert len(person.questions) == 2
    assert len(world.writes) == 2


@pytest.mark.parametrize("refuse", [too_many_requests, refuse_connection])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "UPDATE snapshots SET name = 'before-upgrade-x' WHERE id = 1704",
            'A snapshot named "before-upgrade-x" exists already',
        ),
        (
            "UPDATE vms SET snapshot_began = 1795176000000000, snapshot_gb = 90 WHERE id = ?",
            "another snapshot of it is in progress",
        ),
        ("UPDATE vms SET resting = 'HIBERNATED' WHERE id = ?", "its status is HIBERNATED"),
        ("DELETE FROM vms WHERE id = ?", "has no VM"),
    ],
)
async def test_a_creation_that_became_impossible_is_not_repeated(
    world: World, client: Client, refuse: Refusal, change: str, reason: str
) -> None:
    arguments = await creation_arguments(client)
    parameters = [arguments["vm_id"]] * change.count("?")
    change_at_first_write(world, lambda: change_cloud(world, change, *parameters), refuse)
    text = await call_tool_error(client, "create_snapshot", **arguments)
    assert CHANGED in text.lower()
    assert reason in text
    assert "Nothing was changed." in text
    assert len(world.writes) == 1
    assert await attempt_events(world) == ["sent", "failed"]


async def test_a_vm_that_was_started_meanwhile_is_not_interrupted(
    world: World, client: Client
) -> None:
    vm = await find_vm(client, status="SHUTOFF", can_snapshot=True)
    start = "UPDATE vms SET resting = 'ACTIVE' WHERE id = ?"
    change_at_first_write(world, lambda: change_cloud(world, start, vm["id"]))
    text = await call_tool_error(client, "create_snapshot", vm_id=vm["id"], name="while-off")
    assert CHANGED in text.lower()
    assert "interrupts what runs on it" in text
    assert len(world.writes) == 1


@pytest.mark.parametrize("refuse", [too_many_requests, refuse_connection])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "INSERT INTO images VALUES (NULL, 1704, 'other', '[]', 1700000000000000)",
            "it already has an image",
        ),
        (
            "INSERT INTO images VALUES (NULL, 1722, 'base-image', '[]', 1700000000000000)",
            'An image named "base-image" exists already',
        ),
        ("UPDATE snapshots SET outcome = 'ERROR' WHERE id = 1704", "it is failed"),
        ("DELETE FROM snapshots WHERE id = 1704", f"has no snapshot {TARGET}"),
    ],
)
async def test_an_image_that_became_impossible_is_not_repeated(
    world: World, client: Client, refuse: Refusal, change: str, reason: str
) -> None:
    await call_tool(client, "list_snapshots", limit=1)
    change_at_first_write(world, lambda: change_cloud(world, change), refuse)
    text = await call_tool_error(
        client, "create_image_from_snapshot", snapshot_id=TARGET, name="base-image"
    )
    assert CHANGED in text.lower()
    assert reason in text
    assert len(world.writes) == 1
    assert await attempt_events(world) == ["sent", "failed"]


FOUR = [1704, 1722, 1723, 1726]
"""The snapshots that the plan below deletes, in order."""


async def commit_retention(client: Client) -> dict[str, object]:
    plan = await make_retention_plan(client, keep_daily=3, keep_weekly=2, keep_labels=["keep"])
    return {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}


@pytest.mark.parametrize("refuse", [too_many_requests, refuse_connection])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (OTHERS_GONE, "it may be the newest ready copy of its VM now"),
        (
            "UPDATE snapshots SET outcome = 'DELETING' WHERE vm_id = 793705 AND id <> 1704",
            "newest ready copy",
        ),
        ("UPDATE snapshots SET labels = '[\"pin\"]' WHERE id = 1704", "Rule: protect.labels."),
        ("UPDATE snapshots SET name = 'other' WHERE id = 1704", "it has changed since"),
        (
            "INSERT INTO images VALUES (NULL, 1704, 'new', '[]', 1700000000000000)",
            "it has changed since",
        ),
        ("DELETE FROM snapshots WHERE id = 1704", "it is already gone"),
    ],
)
@pytest.mark.sampled(5)
async def test_a_snapshot_of_a_batch_that_changed_is_skipped_and_the_others_are_deleted(
    world: World, refuse: Refusal, change: str, reason: str
) -> None:
    set_policy(world, '[protect]\nlabels = ["pin"]\n')
    async with world.client() as client:
        commit = await commit_retention(client)
        change_at_first_write(world, lambda: change_cloud(world, change), refuse)
        report = await call_tool(client, "apply_retention", **commit)
    assert report["outcome"] == "applied"
    assert ids_of(report["deleted"]) == FOUR[1:]
    (skipped,) = report["skipped"]
    assert skipped["id"] == TARGET
    assert CHANGED in skipped["why"].lower()
    assert reason in skipped["why"]
    assert len(world.writes) == 1 + 3
    events = [(row.event, row.target) for row in await world.attempts()]
    assert events[:3] == [("sent", 0), ("sent", TARGET), ("failed", TARGET)]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_person_who_agreed_is_not_asked_again_unless_something_changed(
    world: World, mode: str
) -> None:
    """The other copies disappear while the cloud is busy: the new plan needs a new answer."""
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        commit, plan = await make_plan(client, "delete_snapshot", {"id": TARGET})
        person.will_type(plan["confirm_with"])
        change_at_first_write(world, lambda: change_cloud(world, OTHERS_GONE))
        again = await call_tool(client, "delete_snapshot", **commit)
        assert again["outcome"] == "confirmation_required"
        assert len(person.questions) == 1
        fresh = {"plan_token": again["plan_token"], "confirm": again["confirm_with"]}
        await call_tool(client, "delete_snapshot", snapshot_id=TARGET, **fresh)
    assert "It is the last ready snapshot of its VM." not in person.questions[0]
    assert "It is the last ready snapshot of its VM." in person.questions[1]
    assert len(world.writes) == 2


Answer = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


def refuse_writes(world: World, status: int, change: Callable[[], None]) -> None:
    """Refuse every write with a status and without a known reason."""

    async def fault(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET":
            return None
        change()
        body = {"status": False, "message": "no", "error_reason": "unknown"}
        return httpx.Response(status, json=body, request=request)

    world.fail(fault)


@pytest.mark.parametrize(
    ("change", "outcome", "events", "text"),
    [
        (
            "UPDATE snapshots SET outcome = 'DELETING' WHERE id = 1704",
            "pending",
            ["sent", "unknown"],
            "an earlier deletion of this snapshot is still in progress",
        ),
        ("DELETE FROM snapshots WHERE id = 1704", "deleted", ["sent", "done"], ""),
    ],
)
@pytest.mark.parametrize("status", [409, 400])
async def test_a_conflict_of_a_deletion_is_explained_by_reading_the_snapshot_again(
    world: World,
    client: Client,
    status: int,
    change: str,
    outcome: str,
    events: list[str],
    text: str,
) -> None:
    commit = await commit_deletion(client)
    refuse_writes(world, status, lambda: change_cloud(world, change))
    result = await call_tool(client, "delete_snapshot", **commit)
    assert result["outcome"] == outcome
    assert text in result["next_step"]
    assert await attempt_events(world) == events
    assert len(world.writes) == 1


async def test_a_conflict_of_a_deletion_that_nothing_explains_is_busy(
    world: World, client: Client
) -> None:
    commit = await commit_deletion(client)
    refuse_writes(world, 409, lambda: None)
    text = await call_tool_error(client, "delete_snapshot", **commit)
    assert "it is busy or in use. Nothing was changed." in text
    assert "name" not in text
    assert [(row.event, row.reason) for row in await world.attempts()] == [
        ("sent", ""),
        ("failed", "Conflict"),
    ]
    assert (await call_tool(client, "inspect_snapshot", snapshot_id=TARGET))["state"] == "ready"


async def test_an_earlier_deletion_of_a_snapshot_of_a_batch_is_not_claimed(
    world: World, client: Client
) -> None:
    commit = await commit_retention(client)
    conflicts: list[str] = []

    async def fault(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET" or conflicts:
            return None
        conflicts.append(request.url.path)
        change_cloud(world, "UPDATE snapshots SET outcome = 'DELETING' WHERE id = 1704")
        return httpx.Response(409, json={"status": False, "message": "no"}, request=request)

    world.fail(fault)
    report = await call_tool(client, "apply_retention", **commit)
    assert ids_of(report["deleted"]) == FOUR[1:]
    (skipped,) = report["skipped"]
    assert "an earlier deletion of this snapshot is still in progress" in skipped["why"]


@pytest.mark.parametrize("status", [409, 400])
@pytest.mark.parametrize(
    ("tool", "change", "reason"),
    [
        (
            "create_snapshot",
            "UPDATE snapshots SET name = 'before-upgrade-x' WHERE id = 1722",
            'A snapshot named "before-upgrade-x" exists already',
        ),
        (
            "create_snapshot",
            "UPDATE vms SET snapshot_began = 1795176000000000, snapshot_gb = 90",
            "another snapshot of it is in progress",
        ),
        (
            "restore_snapshot",
            "UPDATE snapshots SET outcome = 'ERROR' WHERE id = 1704",
            "it is failed",
        ),
        (
            "create_image_from_snapshot",
            "INSERT INTO images VALUES (NULL, 1704, 'other', '[]', 1700000000000000)",
            "it already has an image",
        ),
    ],
)
async def test_a_refusal_is_explained_by_the_state_of_the_cloud(
    world: World, client: Client, tool: str, change: str, reason: str, status: int
) -> None:
    arguments: dict[str, Any]
    match tool:
        case "create_snapshot":
            arguments = await creation_arguments(client)
        case "restore_snapshot":
            arguments, _ = await make_plan(client, tool, {"id": TARGET})
        case _:
            arguments = {"snapshot_id": TARGET, "name": "base-image"}
    await call_tool(client, "list_snapshots", limit=1)
    refuse_writes(world, status, lambda: change_cloud(world, change))
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert reason in result_text(result)
    assert "Nothing was changed." in result_text(result)
    assert await attempt_events(world) == ["sent", "failed"]
