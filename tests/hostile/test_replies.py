"""Hostile replies: whatever bytes come back, a sentence of ours, and no success that was none.

The real tools, the real HTTP client, a real socket; only the other end of it is evil. One server
outlives what is done to it here. `make test-deep` tries each trick on each write twice: where
the cloud had done it, and where it had not.
"""

import json
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from tests.conftest import ask, said
from tests.hostile import replies
from tests.hostile.raw_cloud import Misbehavior
from tests.hostile.scene import (
    REMOTE_TEXT,
    SUCCESSES,
    WRITES,
    Harness,
    assert_error,
    assert_truthful,
    stable_facts,
    open_harness,
    facts_of,
)
from tests.scale import scale

pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("clean_log")]

ALL_CASES = scale(quick=False, deep=True)


def each_misbehavior(tricks: Mapping[str, Misbehavior]) -> pytest.MarkDecorator:
    """The tricks with their numbers, by name."""
    numbered = [(number, trick) for number, trick in enumerate(tricks.values())]
    return pytest.mark.parametrize(("number", "trick"), numbered, ids=tricks)


def selected_writes(number: int) -> list[tuple[str, bool]]:
    """One of the writes, done by the cloud or not, another one for each trick; all if ALL_CASES."""
    combinations = [(tool, happen) for tool in WRITES for happen in (True, False)]
    return combinations if ALL_CASES else [combinations[number % len(combinations)]]


@each_misbehavior(replies.BROKEN)
async def test_a_broken_answer_is_told_in_our_words_and_never_taken_for_a_success(
    stage: Harness, number: int, trick: Misbehavior
) -> None:
    for wish in stage.reads if ALL_CASES else (stage.reads[number % 2],):
        assert_error(await stage.tricked(wish, trick))
    for tool, happen in selected_writes(number):
        wish = await stage.write(tool, happen=happen)
        assert_truthful(wish, await stage.tricked(wish, trick))
    await stage.next_calls_work()


async def test_an_answer_that_never_ends_is_ended_by_the_limit_of_the_whole_call(
    tmp_path: Path,
) -> None:
    async def play(number: int, trick: Misbehavior) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with AsyncExitStack() as stack:
            async with beginning:  # or all begin at once, and none in time
                own = await stack.enter_async_context(open_harness(folder))
            assert_error(await own.tricked(own.reads[0], trick))
            for tool, happen in selected_writes(number):
                wish = await own.write(tool, happen=happen)
                assert_truthful(wish, await own.tricked(wish, trick))
            await own.next_calls_work()

    beginning = anyio.Lock()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number, trick in enumerate(replies.STALLED.values()):
                tasks.start_soon(play, number, trick)


@each_misbehavior(replies.UNUSUAL)
async def test_a_strange_answer_that_says_what_is_so_is_read_as_it_is(
    stage: Harness, number: int, trick: Misbehavior
) -> None:
    for wish, honest in zip(stage.reads, stage.honest, strict=True):
        assert facts_of(await stage.tricked(wish, trick)) == stable_facts(honest)
    for tool in WRITES if ALL_CASES else (WRITES[number % 3],):
        wish = await stage.write(tool, happen=True)
        result = await stage.tricked(wish, trick)
        assert_truthful(wish, result)
        assert not result.is_error
        assert REMOTE_TEXT not in said(result)
    await stage.next_calls_work()
    assert REMOTE_TEXT.encode() not in b"".join(it.head for it in stage.cloud.requests)


async def test_a_thing_without_an_id_that_could_be_one_is_not_taken_for_a_thing(
    stage: Harness,
) -> None:
    one, several = stage.reads
    restore = await stage.write("restore_snapshot", happen=False)
    assert_truthful(restore, await stage.tricked(restore, replies.INVALID_IDS["NaN"]))
    creation = await stage.write("create_snapshot", happen=False)
    for number, trick in enumerate(replies.INVALID_IDS.values()):
        assert_error(await stage.tricked(one, trick))
        listed = facts_of(await stage.tricked(several, trick))
        assert listed["snapshots"] == []
        assert listed["unreadable"] > 0
        if ALL_CASES or number % 4 == 0:
            assert_truthful(creation, await stage.tricked(creation, trick))
    await stage.next_calls_work()


async def test_what_does_not_tell_whether_it_worked_is_no_success(stage: Harness) -> None:
    for tool in WRITES:
        wish = await stage.write(tool, happen=False)
        assert_truthful(wish, await stage.tricked(wish, replies.UNCLEAR_STATUSES["NaN"]))
    creation = await stage.write("create_snapshot", happen=False)
    for number, trick in enumerate(replies.UNCLEAR_STATUSES.values()):
        assert_error(await stage.tricked(stage.reads[0], trick))
        if ALL_CASES or number % 4 == 0:
            assert_truthful(creation, await stage.tricked(creation, trick))
    await stage.next_calls_work()


@pytest.mark.parametrize("size", ["1e999", "NaN", "-1", "1" + "0" * 400, "1.5", "true", "[[9]]"])
async def test_a_fact_that_cannot_be_is_left_out_and_the_others_stay(
    stage: Harness, size: str
) -> None:
    written = f'"size":{size}'.encode()
    trick = replies.alter_body(lambda body: re.sub(rb'"size":\d+', written, body))
    told = facts_of(await stage.tricked(stage.reads[0], trick))["snapshot"]
    honest = stage.honest[0]["snapshot"]
    assert "size" not in told
    assert [told[name] for name in ("id", "vm_id")] == [honest[name] for name in ("id", "vm_id")]


async def test_an_answer_about_another_snapshot_is_not_shown_as_the_one_asked_for(
    stage: Harness,
) -> None:
    asked = stage.reads[0].arguments["snapshot_id"]
    ours, other = f'"id":{asked}'.encode(), f'"id":{asked + 1}'.encode()
    trick = replies.alter_body(lambda body: body.replace(ours, other))
    assert_error(await stage.tricked(stage.reads[0], trick))
    await stage.next_calls_work()


@pytest.mark.parametrize("tool", ["delete_snapshot", "create_snapshot", "restore_snapshot"])
async def test_a_write_that_is_answered_with_what_was_there_before_is_no_success(
    stage: Harness, tool: str
) -> None:
    vm = (await ask(stage.client, "list_virtual_machines"))["virtual_machines"][0]
    snapshot = stage.honest[0]["snapshot"]
    body = {"status": True, "snapshot": {"id": snapshot["id"]}, "instance": {"id": vm["id"]}}
    trick = replies.alter_body(lambda _: json.dumps(body).encode())
    wish = await stage.write(tool, happen=False)
    if tool != "delete_snapshot":
        wish.arguments["wait_seconds"] = 60
    result = await stage.tricked(wish, trick)
    content: object = result.structured_content or {}
    assert cast("dict[str, Any]", content).get("outcome") not in SUCCESSES, said(result)
