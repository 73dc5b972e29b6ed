"""Hostile replies: any bytes lead to one of the server's own errors, and never to a false success.

The tools, the HTTP client and the socket are real; only the cloud misbehaves. One server runs
through all tests. `make test-deep` combines each misbehavior with each write, executed or not.
"""

import json
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from tests.conftest import call_tool, result_text
from tests.hostile import replies
from tests.hostile.harness import (
    REMOTE_TEXT,
    SUCCESSES,
    WRITES,
    Harness,
    assert_error,
    assert_truthful,
    facts_of,
    open_harness,
    stable_facts,
)
from tests.hostile.raw_cloud import Misbehavior
from tests.scale import scale

pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("clean_log")]

ALL_CASES = scale(quick=False, deep=True)


def each_misbehavior(misbehaviors: Mapping[str, Misbehavior]) -> pytest.MarkDecorator:
    """Parametrize a test with numbered misbehaviors."""
    numbered = [(number, misbehavior) for number, misbehavior in enumerate(misbehaviors.values())]
    return pytest.mark.parametrize(("number", "misbehavior"), numbered, ids=misbehaviors)


def selected_writes(number: int) -> list[tuple[str, bool]]:
    """Return one tool and whether its write is executed, in rotation; all cases if ALL_CASES."""
    combinations = [(tool, executed) for tool in WRITES for executed in (True, False)]
    return combinations if ALL_CASES else [combinations[number % len(combinations)]]


@each_misbehavior(replies.BROKEN)
@pytest.mark.sampled(6)
async def test_a_broken_reply_is_an_own_error_and_never_a_success(
    harness: Harness, number: int, misbehavior: Misbehavior
) -> None:
    for call in harness.reads if ALL_CASES else (harness.reads[number % 2],):
        assert_error(await harness.call_during(call, misbehavior))
    for tool, executed in selected_writes(number):
        call = await harness.plan_write(tool, executed=executed)
        assert_truthful(call, await harness.call_during(call, misbehavior))
    await harness.assert_next_calls_work()


@pytest.mark.slow
async def test_an_endless_reply_is_ended_by_the_timeout_of_the_call(
    tmp_path: Path,
) -> None:
    async def play(number: int, misbehavior: Misbehavior) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with AsyncExitStack() as stack:
            async with starting:  # if all started together, all would time out
                own = await stack.enter_async_context(open_harness(folder))
            assert_error(await own.call_during(own.reads[0], misbehavior))
            for tool, executed in selected_writes(number):
                call = await own.plan_write(tool, executed=executed)
                assert_truthful(call, await own.call_during(call, misbehavior))
            await own.assert_next_calls_work()

    starting = anyio.Lock()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number, misbehavior in enumerate(replies.STALLED.values()):
                tasks.start_soon(play, number, misbehavior)


@each_misbehavior(replies.UNUSUAL)
@pytest.mark.sampled(2)
async def test_an_unusual_reply_that_is_true_is_accepted(
    harness: Harness, number: int, misbehavior: Misbehavior
) -> None:
    for call, honest in zip(harness.reads, harness.honest_results, strict=True):
        assert facts_of(await harness.call_during(call, misbehavior)) == stable_facts(honest)
    for tool in WRITES if ALL_CASES else (WRITES[number % 3],):
        call = await harness.plan_write(tool, executed=True)
        result = await harness.call_during(call, misbehavior)
        assert_truthful(call, result)
        assert not result.is_error
        assert REMOTE_TEXT not in result_text(result)
    await harness.assert_next_calls_work()
    assert REMOTE_TEXT.encode() not in b"".join(request.head for request in harness.cloud.requests)


async def test_an_object_with_an_impossible_id_is_ignored(
    harness: Harness,
) -> None:
    one, several = harness.reads
    restore = await harness.plan_write("restore_snapshot", executed=False)
    assert_truthful(restore, await harness.call_during(restore, replies.INVALID_IDS["NaN"]))
    for number, misbehavior in enumerate(replies.INVALID_IDS.values()):
        assert_error(await harness.call_during(one, misbehavior))
        listed = facts_of(await harness.call_during(several, misbehavior))
        assert listed["snapshots"] == []
        assert listed["unreadable"] > 0
        if ALL_CASES or number % 4 == 0:
            creation = await harness.plan_write("create_snapshot", executed=False)
            assert_truthful(creation, await harness.call_during(creation, misbehavior))
    await harness.assert_next_calls_work()


async def test_a_reply_without_a_clear_status_is_not_a_success(harness: Harness) -> None:
    for tool in WRITES:
        call = await harness.plan_write(tool, executed=False)
        assert_truthful(call, await harness.call_during(call, replies.UNCLEAR_STATUSES["NaN"]))
    for number, misbehavior in enumerate(replies.UNCLEAR_STATUSES.values()):
        assert_error(await harness.call_during(harness.reads[0], misbehavior))
        if ALL_CASES or number % 4 == 0:
            creation = await harness.plan_write("create_snapshot", executed=False)
            assert_truthful(creation, await harness.call_during(creation, misbehavior))
    await harness.assert_next_calls_work()


@pytest.mark.parametrize("size", ["1e999", "NaN", "-1", "1" + "0" * 400, "1.5", "true", "[[9]]"])
async def test_an_impossible_value_is_left_out_and_the_others_stay(
    harness: Harness, size: str
) -> None:
    size_field = f'"size":{size}'.encode()
    misbehavior = replies.alter_body(lambda body: re.sub(rb'"size":\d+', size_field, body))
    snapshot = facts_of(await harness.call_during(harness.reads[0], misbehavior))["snapshot"]
    honest = harness.honest_results[0]["snapshot"]
    assert "size" not in snapshot
    assert [snapshot[name] for name in ("id", "vm_id")] == [
        honest[name] for name in ("id", "vm_id")
    ]


DAMAGES: dict[str, tuple[bytes, bytes]] = {
    "a name cut inside a character": (rb'"name":"[^"]*"', b'"name":"caf\xc3"'),
    "a byte that is not UTF-8": (rb'"name":"[^"]*"', b'"name":"\xff"'),
    "a line break in a name": (rb'"name":"[^"]*"', b'"name":"a\nb"'),
    "a size that is no number": (rb'"size":\d+', b'"size":1x'),
    "a duplicate key": (rb'"size":\d+', b'"size":1,"size":2'),
    "deep nesting": (rb'"size":\d+', b'"size":' + b"[" * 9_000 + b"]" * 9_000),
    "a byte order mark": (rb"^", b"\xef\xbb\xbf"),
}


@pytest.mark.parametrize(("pattern", "damage"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.sampled(2)
async def test_damage_in_an_entry_costs_only_its_field_and_is_no_outage(
    harness: Harness, pattern: bytes, damage: bytes
) -> None:
    misbehavior = replies.alter_body(lambda body: re.sub(pattern, lambda _: damage, body, count=1))
    listing, honest = harness.reads[1], harness.honest_results[1]
    for _ in range(7):  # more than the failures that open the circuit
        listed = facts_of(await harness.call_during(listing, misbehavior))
        assert [row["id"] for row in listed["snapshots"]] == [
            row["id"] for row in honest["snapshots"]
        ]
        assert listed["snapshots"][1:] == honest["snapshots"][1:]
        assert "unreadable" not in listed
    inspected = facts_of(await harness.call_during(harness.reads[0], misbehavior))["snapshot"]
    assert inspected["id"] == harness.honest_results[0]["snapshot"]["id"]
    for tool in WRITES:
        call = await harness.plan_write(tool, executed=True)
        result = await harness.call_during(call, misbehavior)
        assert not result.is_error, result_text(result)
        assert_truthful(call, result)
    await harness.assert_next_calls_work()


@pytest.mark.parametrize("entry", [b'"text"', b"null", b"7", b"{'id': 1}", b'{"id":0}', b"[1 2]"])
async def test_an_unreadable_entry_costs_only_itself(harness: Harness, entry: bytes) -> None:
    misbehavior = replies.alter_body(
        lambda body: body.replace(b'"snapshots":[', b'"snapshots":[' + entry + b",", 1)
    )
    listed = facts_of(await harness.call_during(harness.reads[1], misbehavior))
    assert listed == harness.honest_results[1] | {"unreadable": 1}


async def test_a_reply_about_another_snapshot_is_an_error(
    harness: Harness,
) -> None:
    requested_id = harness.reads[0].arguments["snapshot_id"]
    own, other = f'"id":{requested_id}'.encode(), f'"id":{requested_id + 1}'.encode()
    misbehavior = replies.alter_body(lambda body: body.replace(own, other))
    assert_error(await harness.call_during(harness.reads[0], misbehavior))
    await harness.assert_next_calls_work()


@pytest.mark.parametrize("tool", ["delete_snapshot", "create_snapshot", "restore_snapshot"])
async def test_a_write_answered_with_older_objects_is_not_a_success(
    harness: Harness, tool: str
) -> None:
    vm = (await call_tool(harness.client, "list_virtual_machines"))["virtual_machines"][0]
    snapshot = harness.honest_results[0]["snapshot"]
    body = {"status": True, "snapshot": {"id": snapshot["id"]}, "instance": {"id": vm["id"]}}
    misbehavior = replies.alter_body(lambda _: json.dumps(body).encode())
    call = await harness.plan_write(tool, executed=False)
    if tool != "delete_snapshot":
        call.arguments["wait_seconds"] = 60
    result = await harness.call_during(call, misbehavior)
    content: object = result.structured_content or {}
    assert cast("dict[str, Any]", content).get("outcome") not in SUCCESSES, result_text(result)
