"""apply_retention: consent to a batch, skipped snapshots, and early stops."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from snapshot_mcp.core.request_context import LOCAL_PRINCIPAL
from snapshot_mcp.ledger.chain import Attempt
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.conftest import ERAS, World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import (
    LAST,
    POLICY,
    FakePerson,
    add_old_snapshots,
    change_cloud,
    client_with_person,
    deleted_ids,
    ids_of,
    make_plan,
    make_retention_plan,
    ready_snapshot,
    set_policy,
)
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.one_era

Commit = dict[str, object]
FOUR = [1704, 1722, 1723, 1726]
"""The snapshots that POLICY deletes, in order."""


async def commit_arguments(client: Client, **policy: object) -> tuple[Commit, dict[str, Any]]:
    """Make a plan; return the arguments that commit it, and the plan."""
    plan = await make_retention_plan(client, **(policy or POLICY))
    return {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}, plan


def before_deletion(
    number: int, answer: Callable[[httpx.Request], Awaitable[httpx.Response | None]]
) -> Callable[[httpx.Request], Awaitable[httpx.Response | None]]:
    """Return a fault for the deletion of one snapshot."""

    async def fault(request: httpx.Request) -> httpx.Response | None:
        if request.method == "DELETE" and request.url.path.endswith(f"/{number}"):
            return await answer(request)
        return None

    return fault


async def lose_request(request: httpx.Request) -> httpx.Response | None:
    raise httpx.ReadTimeout("lost", request=request)


def reported_ids(report: dict[str, Any]) -> list[int]:
    """Return every id in the lists of a report."""
    lists = [report[name] for name in ("deleted", "pending", "unknown", "skipped")]
    listed = [snapshot["id"] for snapshots in lists for snapshot in snapshots]
    return sorted(listed + report["not_attempted"])


async def existing_ids(client: Client) -> set[int]:
    return set(ids_of((await call_tool(client, "list_snapshots", limit=100))["snapshots"]))


async def recorded_events(world: World) -> list[tuple[str, str, int]]:
    """Return the ledger's rows of batches and deletions, without the row of the plan."""
    rows = await world.ledger()
    return [(row.event, row.tool, row.target) for row in rows if row.event != "planned"]


async def test_a_commit_deletes_the_planned_snapshots_and_nothing_else(
    world: World, client: Client
) -> None:
    before = await existing_ids(client)
    commit, plan = await commit_arguments(client)
    report, text = await call_tool_with_text(client, "apply_retention", **commit)
    assert report["outcome"] == "applied"
    assert ids_of(report["deleted"]) == deleted_ids(plan) == FOUR
    assert report["reclaimed_gb"] == plan["reclaimed_gb"]
    assert report["skipped"] == report["not_attempted"] == []
    assert report["next_step"] == "Nothing more to do."
    assert await existing_ids(client) == before - set(FOUR)
    assert world.writes == [f"DELETE /v1/core/snapshots/{number}" for number in FOUR]
    assert "deleted: 1704 train-a100-1-before-driver-570, 1722" in text


async def test_each_deletion_is_a_separate_attempt_of_the_plan(
    world: World, client: Client
) -> None:
    commit, _ = await commit_arguments(client)
    await call_tool(client, "apply_retention", **commit)
    each = [(event, "delete_snapshot", entry) for entry in FOUR for event in ("sent", "done")]
    batch = ("apply_retention", 0)
    assert await recorded_events(world) == [("sent", *batch), *each, ("done", *batch)]
    rows = await world.ledger()
    (plan,) = {row.attempt for row in rows if row.tool == "apply_retention"}
    parts = {row.attempt for row in rows if row.tool == "delete_snapshot"}
    assert parts == {f"{plan}.{number}" for number in FOUR}
    assert rows[-1].reason == "4 deleted, 0 skipped, 0 unknown, 0 not attempted"


async def test_wrong_words_delete_nothing_and_do_not_reveal_the_right_ones(
    world: World, client: Client
) -> None:
    commit, _ = await commit_arguments(client)
    for wrong in ("yes", "delete 5 snapshots", "Delete 4 snapshots", "delete 4 snapshots "):
        refusal = await call_tool_error(client, "apply_retention", **(commit | {"confirm": wrong}))
        assert "confirm does not match the confirmation words of the plan" in refusal
        assert "delete 4" not in refusal
    assert world.writes == []
    assert (await call_tool(client, "apply_retention", **commit))["outcome"] == "applied"


async def test_a_missing_token_or_missing_words_are_refused(world: World, client: Client) -> None:
    commit, _ = await commit_arguments(client)
    for empty in ("plan_token", "confirm"):
        refusal = await call_tool_error(client, "apply_retention", **(commit | {empty: ""}))
        assert f"{empty} is missing" in refusal
    refusal = await call_tool_error(client, "apply_retention", plan_token="", confirm="")
    assert "plan_token and confirm are missing. Nothing was changed." in refusal
    assert "confirm is missing" in await call_tool_error(
        client, "apply_retention", plan_token=commit["plan_token"]
    )
    assert world.writes == []


async def test_a_token_that_is_forged_or_of_another_tool_is_refused(
    world: World, client: Client
) -> None:
    commit, _ = await commit_arguments(client)
    delete, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    crossed = commit | {"plan_token": delete["plan_token"]}
    assert "for another tool" in await call_tool_error(client, "apply_retention", **crossed)
    forged = commit | {"plan_token": str(commit["plan_token"])[:-2] + "xx"}
    assert "was not issued by this server" in await call_tool_error(
        client, "apply_retention", **forged
    )
    crossed = delete | {"plan_token": commit["plan_token"]}
    assert "for another tool" in await call_tool_error(client, "delete_snapshot", **crossed)
    assert world.writes == []


async def test_a_plan_expires_after_ten_minutes(world: World, client: Client) -> None:
    commit, _ = await commit_arguments(client)
    world.manual_clock.advance(minutes=10)
    refusal = await call_tool_error(client, "apply_retention", **commit)
    assert refusal.startswith("This plan has expired. Nothing was changed.")
    assert "plan_retention" in refusal
    assert world.writes == []


async def test_a_plan_works_once_across_all_servers_on_one_folder(world: World) -> None:
    async with world.client() as one, world.client("legacy") as other:
        commit, _ = await commit_arguments(one)
        await call_tool(other, "apply_retention", **commit)
        for client in (one, other):
            refusal = await call_tool_error(client, "apply_retention", **commit)
            assert refusal.startswith("This plan was already used; a plan can be used once.")
    assert len(world.writes) == 4


async def test_of_two_servers_that_apply_one_plan_concurrently_only_one_deletes(
    world: World,
) -> None:
    errors: list[bool] = []

    async def commit_plan(client: Client, commit: Commit) -> None:
        result = await client.call_tool("apply_retention", commit)
        errors.append(bool(result.is_error))

    async with world.client() as one, world.client() as other:
        commit, _ = await commit_arguments(one)
        await existing_ids(other)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit_plan, one, commit)
            tasks.start_soon(commit_plan, other, commit)
    assert sorted(errors) == [False, True]
    assert len(world.writes) == 4


async def test_a_plan_survives_a_restart(world: World) -> None:
    async with world.client() as client:
        commit, _ = await commit_arguments(client)
    async with world.client("legacy") as client:
        assert ids_of((await call_tool(client, "apply_retention", **commit))["deleted"]) == FOUR


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE attempts SET arguments = replace(arguments, '1704 ', '1705 ')", "was altered"),
        ("UPDATE attempts SET arguments = '{}'", "was altered"),
        ("DELETE FROM attempts", "record of this plan is missing"),
    ],
)
async def test_a_plan_whose_row_was_altered_is_refused(
    world: World, change: str, reason: str
) -> None:
    async with world.client() as client:
        commit, _ = await commit_arguments(client)
        with closing(sqlite3.connect(world.folder / LEDGER_FILE)) as connection, connection:
            for trigger in ("updated", "deleted"):
                connection.execute(f"DROP TRIGGER attempts_are_not_{trigger}")
            connection.execute(change)
        refusal = await call_tool_error(client, "apply_retention", **commit)
    assert reason in refusal
    assert world.writes == []


@pytest.mark.parametrize("mode", ERAS)
async def test_the_question_names_every_snapshot(world: World, mode: str) -> None:
    person = FakePerson()
    person.will_type("delete 4 snapshots")
    async with client_with_person(world, mode, person) as client:
        commit, plan = await commit_arguments(client)
        report = await call_tool(client, "apply_retention", **commit)
    assert report["outcome"] == "applied"
    (question,) = person.questions
    assert f"Delete 4 snapshots for good, {plan['reclaimed_gb']} GB" in question
    for decision in plan["decisions"]:
        assert (f"{decision['id']} {decision['name']} (" in question) is not decision["keep"]
    assert question.endswith("To agree, type exactly: delete 4 snapshots")
    evidence = {row.evidence for row in await world.attempts()}
    assert evidence == {"person"}
    assert ("asked", "apply_retention", 0) in await recorded_events(world)


@pytest.mark.parametrize("mode", ERAS)
async def test_the_question_mentions_images_and_deleted_vms(world: World, mode: str) -> None:
    set_policy(world, "[retention]\nmay_delete_last_copy = true")
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        commit, _ = await commit_arguments(client, keep_labels=["no such label"])
        assert "was asked and declined" in await call_tool_error(
            client, "apply_retention", **commit
        )
    (question,) = person.questions
    image = 'The image "golden-training-2404" (id 20471) made from 1702 is deleted too'
    assert f'{image}; VMs that use it: "eval-sweep".' in question
    assert "which is deleted: its data exists nowhere else: 1701 trainer-2025-final" in question


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("words", ["", "yes", "delete 5 snapshots"])
async def test_a_person_who_declines_or_types_other_words_stops_the_batch(
    world: World, mode: str, words: str
) -> None:
    person = FakePerson()
    if words:
        person.will_type(words)
    async with client_with_person(world, mode, person) as client:
        commit, _ = await commit_arguments(client)
        refusal = await call_tool_error(client, "apply_retention", **commit)
    assert ("typed words other" if words else "was asked and declined") in refusal
    assert world.writes == []
    assert [event for event, *_ in await recorded_events(world)] == ["asked", "refused"]


@pytest.mark.parametrize("mode", ERAS)
async def test_with_consent_human_a_client_that_cannot_ask_is_refused(
    world: World, mode: str
) -> None:
    world.settings = world.settings.model_copy(update={"consent": "human"})
    async with world.client(mode) as client:
        commit, _ = await commit_arguments(client)
        assert "neither ask a person" in await call_tool_error(client, "apply_retention", **commit)
    assert world.writes == []


GONE = "it is already gone"
CHANGED = "it has changed since the plan was made"
NEWEST = "it may be the newest ready copy of its VM now"


DRIFTS = [
    ("DELETE FROM snapshots WHERE id = 1704", GONE),
    ("UPDATE snapshots SET outcome = 'CREATING' WHERE id = 1704", "it is pending now"),
    ("UPDATE snapshots SET outcome = 'ERROR' WHERE id = 1704", "it is failed now"),
    ("UPDATE snapshots SET outcome = 'DELETING' WHERE id = 1704", "it is being deleted now"),
    ("UPDATE snapshots SET outcome = 'SUCCESSFUL' WHERE id = 1704", CHANGED),
    ("UPDATE snapshots SET name = 'other' WHERE id = 1704", CHANGED),
    ("UPDATE snapshots SET gigabytes = 11 WHERE id = 1704", CHANGED),
    ("UPDATE snapshots SET labels = '[\"keep\"]' WHERE id = 1704", CHANGED),
    ("UPDATE snapshots SET touched = began + 3600000000 WHERE id = 1704", CHANGED),
    ("INSERT INTO images VALUES (NULL, 1704, 'new', '[]', 1700000000000000)", CHANGED),
    ("DELETE FROM snapshots WHERE vm_id = 793705 AND id > 1704", NEWEST),
    ("UPDATE snapshots SET outcome = 'ERROR' WHERE vm_id = 793705 AND id > 1704", NEWEST),
]


@pytest.mark.parametrize(
    ("when", "change", "why"),
    [("before", *DRIFTS[place]) for place in (0, 1, 7, 10)]
    + [("meanwhile", *drift) for drift in DRIFTS],
)
@pytest.mark.sampled(3)
async def test_changed_snapshots_are_skipped_with_the_reason(
    world: World, when: str, change: str, why: str
) -> None:
    """The snapshot changes before the commit, or after the last list, before its own check."""
    gone = "DELETE" in change.split(maxsplit=1)[0]

    async def drift(request: httpx.Request) -> httpx.Response | None:
        if "/core/snapshots/" in request.url.path and not drifted:
            drifted.append(True)
            change_cloud(world, change)
        return None

    drifted: list[bool] = []
    async with world.client() as client:
        commit, _ = await commit_arguments(client)
        if when == "before":
            change_cloud(world, change)
        else:
            world.fail(drift)
        report, text = await call_tool_with_text(client, "apply_retention", **commit)
    assert report["outcome"] == "applied"
    assert ids_of(report["deleted"]) == FOUR[1:]
    (skipped,) = report["skipped"]
    assert (skipped["id"], skipped["why"]) == (1704, why)
    assert bool(skipped["name"]) is not (gone and when == "before" and why == GONE)
    assert "call plan_retention again; this plan cannot be used again" in report["next_step"]
    assert f"skipped 1704{' ' + skipped['name'] if skipped['name'] else ''}: {why}" in text
    assert len(world.writes) == 3


async def test_snapshots_that_became_protected_are_skipped_with_the_rule(world: World) -> None:
    async with world.client() as client:
        commit, _ = await commit_arguments(client)
    set_policy(world, "[protect]\nvm_ids = [793705]")
    async with world.client() as client:
        report = await call_tool(client, "apply_retention", **commit)
    assert ids_of(report["deleted"]) == FOUR[1:]
    assert report["skipped"][0]["why"].endswith("Rule: protect.vm_ids.")


async def test_the_newest_snapshots_kept_by_the_policy_are_checked_again(world: World) -> None:
    set_policy(world, "[protect]\nkeep_newest = 3")
    async with world.client() as client:
        commit, _ = await commit_arguments(client)
        change_cloud(world, "DELETE FROM snapshots WHERE id = 1716")  # one of the three newer ones
        report = await call_tool(client, "apply_retention", **commit)
    assert report["skipped"][0]["id"] == 1704
    assert report["skipped"][0]["why"].endswith("Rule: protect.keep_newest.")


async def test_if_every_snapshot_changed_nothing_is_done_and_no_person_is_asked(
    world: World, client: Client
) -> None:
    commit, _ = await commit_arguments(client)
    change_cloud(world, "DELETE FROM snapshots WHERE id IN (1704, 1722, 1723, 1726)")
    report, text = await call_tool_with_text(client, "apply_retention", **commit)
    assert report["outcome"] == "nothing_done"
    assert [(snapshot["id"], snapshot["why"]) for snapshot in report["skipped"]] == [
        (number, GONE) for number in FOUR
    ]
    assert text.startswith("nothing_done: 0 deleted, 0 GB")
    assert await recorded_events(world) == []


@pytest.mark.parametrize("mode", ERAS)
async def test_snapshots_missing_from_the_question_are_kept(world: World, mode: str) -> None:
    """A snapshot that differs at the time of the question is as planned again afterwards."""
    person = FakePerson()

    async def come_back(request: httpx.Request) -> httpx.Response | None:
        if person.questions and "/core/snapshots/" in request.url.path:
            change_cloud(world, "UPDATE snapshots SET labels = '[]' WHERE id = 1704")
        return None

    person.will_type("delete 4 snapshots")
    async with client_with_person(world, mode, person) as client:
        await existing_ids(client)
        change_cloud(world, "UPDATE snapshots SET labels = '[]' WHERE id = 1704")
        commit, _ = await commit_arguments(client)
        change_cloud(world, "UPDATE snapshots SET labels = '[\"x\"]' WHERE id = 1704")
        world.fail(come_back)
        report = await call_tool(client, "apply_retention", **commit)
    assert "1 of the plan have changed since and are skipped." in person.questions[-1]
    assert ids_of(report["deleted"]) == FOUR[1:]
    assert ids_of(report["skipped"]) == [1704]


async def test_the_run_stops_at_the_first_deletion_with_an_unknown_outcome(
    world: World, client: Client
) -> None:
    commit, _ = await commit_arguments(client)
    world.fail(before_deletion(1722, lose_request))
    report, text = await call_tool_with_text(client, "apply_retention", **commit)
    assert report["outcome"] == "stopped"
    assert ids_of(report["deleted"]) == [1704]
    assert ids_of(report["unknown"]) == [1722]
    assert report["not_attempted"] == [1723, 1726]
    assert "may or may not have happened" in report["next_step"]
    assert "Call inspect_snapshot with 1722" in report["next_step"]
    assert "not attempted: 1723, 1726" in text
    assert len(world.writes) == 2
    assert (await recorded_events(world))[-2:] == [
        ("unknown", "delete_snapshot", 1722),
        ("unknown", "apply_retention", 0),
    ]


async def test_a_deletion_that_the_cloud_refuses_is_skipped_and_the_others_continue(
    world: World, client: Client
) -> None:
    async def conflict(request: httpx.Request) -> httpx.Response | None:
        body = {"status": False, "message": "SECRET", "error_reason": "not_allowed"}
        return httpx.Response(405, json=body, request=request)

    commit, _ = await commit_arguments(client)
    world.fail(before_deletion(1722, conflict))
    report = await call_tool(client, "apply_retention", **commit)
    assert report["outcome"] == "applied"
    assert ids_of(report["deleted"]) == [1704, 1723, 1726]
    assert ids_of(report["skipped"]) == [1722]
    assert "SECRET" not in report["skipped"][0]["why"]
    assert ("failed", "delete_snapshot", 1722) in await recorded_events(world)


async def test_the_run_stops_if_the_cloud_cannot_be_reached(world: World, client: Client) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response | None:
        if world.writes:
            raise httpx.ConnectError("refused", request=request)
        return None

    commit, _ = await commit_arguments(client)
    world.fail(refuse)
    report = await call_tool(client, "apply_retention", **commit)
    assert report["outcome"] == "stopped"
    assert report["deleted"] == []
    assert reported_ids(report) == FOUR
    assert 1726 in report["not_attempted"]
    assert (await recorded_events(world))[-1] == ("failed", "apply_retention", 0)


async def test_the_run_stops_if_a_target_cannot_be_read(world: World, client: Client) -> None:
    async def fail(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET" and request.url.path.endswith("/1722"):
            raise httpx.ConnectError("refused", request=request)
        return None

    commit, _ = await commit_arguments(client)
    world.fail(fail)
    report = await call_tool(client, "apply_retention", **commit)
    assert report["outcome"] == "stopped"
    assert ids_of(report["deleted"]) == [1704]
    assert report["not_attempted"] == FOUR[1:]


async def test_the_hourly_limit_stops_a_run(world: World) -> None:
    set_policy(world, "[limits]\ndeletes_per_hour = 5")
    async with world.client() as client, world.client() as other:
        commit, _ = await commit_arguments(client)
        for number in (1703, 1705, 1707):
            one, _ = await make_plan(other, "delete_snapshot", {"id": number})
            await call_tool(other, "delete_snapshot", **one)
        report = await call_tool(client, "apply_retention", **commit)
    assert report["outcome"] == "stopped"
    assert ids_of(report["deleted"]) == FOUR[:2]
    assert report["not_attempted"] == FOUR[2:]
    assert "at most 5 of these in an hour" in report["next_step"]
    assert len(world.writes) == 5


async def test_the_run_stops_if_a_deletion_cannot_be_recorded(
    world: World, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_the_ledger(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/1722"):
            (world.folder / LEDGER_FILE).chmod(0o400)
            with closing(sqlite3.connect(world.folder / LEDGER_FILE)) as connection, connection:
                connection.execute("DROP TABLE IF EXISTS attempts")
        return None

    commit, _ = await commit_arguments(client)
    world.fail(break_the_ledger)
    report = await call_tool(client, "apply_retention", **commit)
    assert report["outcome"] == "stopped"
    assert ids_of(report["deleted"]) == [1704]
    assert report["not_attempted"] == FOUR[1:]
    assert "The ledger cannot be used" in report["next_step"]
    assert "ended but could not be recorded" in caplog.text
    assert len(world.writes) == 1


async def test_accepted_deletions_that_are_not_confirmed_are_pending(
    world: World, client: Client
) -> None:
    async def keep(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "GET" and request.url.path.endswith("/1704"):
            if response.status_code == 200:
                shown.append(response.json())
            elif shown:
                body = shown[-1] | {"snapshot": shown[-1]["snapshot"] | {"status": "DELETING"}}
                return httpx.Response(200, json=body, request=request)
        return response

    async def read_first(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        await response.aread()
        return await keep(request, response)

    shown: list[dict[str, Any]] = []
    commit, _ = await commit_arguments(client)
    world.tamper(read_first)
    report, text = await call_tool_with_text(client, "apply_retention", **commit)
    assert report["outcome"] == "applied"
    assert ids_of(report["pending"]) == [1704]
    assert ids_of(report["deleted"]) == FOUR[1:]
    assert "pending: 1704" in text
    assert "Call inspect_snapshot for what is pending" in report["next_step"]


async def test_progress_counts_deletions(client: Client) -> None:
    updates: list[tuple[float, float | None, str | None]] = []

    async def record_progress(progress: float, total: float | None, message: str | None) -> None:
        updates.append((progress, total, message))

    commit, _ = await commit_arguments(client)
    await client.call_tool("apply_retention", commit, progress_callback=record_progress)
    rounded = [(round(progress), total, message) for progress, total, message in updates]
    assert [row for row in rounded if row[1] == 4] == [
        (number, 4, f"{number} deleted of 4") for number in range(4)
    ]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_cancelled_run_is_recorded(world: World, mode: str) -> None:
    write_started, release = anyio.Event(), anyio.Event()

    async def hold(_: httpx.Request) -> httpx.Response | None:
        write_started.set()
        await release.wait()
        return None

    async with world.client(mode) as client:
        commit, _ = await commit_arguments(client)
        world.fail(before_deletion(1722, hold))
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def call() -> None:
                with scope:
                    await client.call_tool("apply_retention", commit)

            tasks.start_soon(call)
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                await write_started.wait()
            scope.cancel()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            release.set()
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            while (last := (await recorded_events(world))[-1])[1] != "apply_retention":
                await anyio.lowlevel.checkpoint()
        assert last[0] == "failed"
        assert (await world.ledger())[-1].reason == (
            "interrupted; 2 deleted, 0 failed, 0 unknown, 2 not attempted"
        )
        ends = [row for row in await recorded_events(world) if row[1] == "delete_snapshot"]
        world.manual_clock.advance(seconds=2)  # a deletion takes a moment
        gone = set(FOUR) - await existing_ids(client)
        assert gone == {target for event, _, target in ends if event == "done"} == {1704, 1722}
        assert "already used" in await call_tool_error(client, "apply_retention", **commit)
    assert len(world.writes) == 2


async def test_a_batch_interrupted_by_a_crash_is_settled_at_the_next_start(world: World) -> None:
    ledger = open_sqlite_ledger(world.folder / LEDGER_FILE, world.manual_clock.now)
    batch = Attempt("plan", "apply_retention", 0, {}, LOCAL_PRINCIPAL, "person")
    parts = [
        batch._replace(id=f"plan.{number}", tool="delete_snapshot", target=number)
        for number in FOUR[:2]
    ]
    targets = [f"{number} state" for number in FOUR]
    await ledger.record("planned", batch._replace(arguments={"targets": targets}))
    await ledger.record("sent", batch)
    for part in parts:
        await ledger.record("sent", part)
    await ledger.record("done", parts[0])
    ledger.close()
    async with world.client() as client:
        await existing_ids(client)
        assert len(await world.ledger()) == 5  # the deletion may still take effect
        world.manual_clock.advance(minutes=10)
        await existing_ids(client)
        rows = [(row.event, row.tool, row.reason) for row in (await world.ledger())[5:]]
    assert rows == [
        ("failed", "delete_snapshot", "settled after a crash: the cloud does not show it"),
        (
            "failed",
            "apply_retention",
            "settled after a crash: interrupted; 1 deleted, 1 failed, 0 unknown, 2 not attempted",
        ),
    ]
    assert await ledger.verify() == []


async def test_a_second_plan_covers_the_snapshots_beyond_fifty(world: World) -> None:
    async with world.client() as client:
        await add_old_snapshots(world, client, 40)
        commit, plan = await commit_arguments(client, **LAST)
        report = await call_tool(client, "apply_retention", **commit)
        assert len(report["deleted"]) == plan["delete_count"] == 50
        _, rest = await commit_arguments(client, **LAST)
    assert rest["delete_count"] == plan["left_for_later"] > 0
    assert "left_for_later" not in rest
    assert len(world.writes) == len(set(world.writes)) == 50
