"""Settling: how an attempt of a process that is gone ended is told once, and by nobody before."""

import json
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Attempt, Event, Row
from tests.units.ledgers import LedgerKind
from tests.waiting import ANSWER_TIMEOUT_SECONDS

ATTEMPT = Attempt(
    "plan-1", "delete_snapshot", 1701, {"name": "gr\u00f6\u00dfe"}, "local", "form", "Claude"
)
OTHERS = 5


async def left_open(ledger_kind: LedgerKind, folder: Path) -> Row:
    """The sending of a process that ended before it saw what came of it."""
    gone = ledger_kind.open(folder)
    await gone.record("sent", ATTEMPT)
    gone.close()
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while not (rows := await ledger_kind.open(folder).unsettled()):  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.01)
    return rows[0]


async def events(ledger: Ledger) -> list[str]:
    return [row.event for row in await ledger.rows()]


async def test_the_end_tells_of_the_same_attempt_in_the_name_of_who_settled_it(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    sent = await left_open(ledger_kind, tmp_path)
    ledger = ledger_kind.open(tmp_path)
    await ledger.settle(sent, "done", "the cloud shows it")
    _, end = await ledger.rows()
    assert json.loads(end.arguments) == ATTEMPT.arguments
    same = ("attempt", "tool", "target", "arguments", "principal", "client", "evidence")
    assert [getattr(end, field) for field in same] == [getattr(sent, field) for field in same]
    assert (end.event, end.reason, end.previous) == ("done", "the cloud shows it", sent.hash)
    assert end.owner != sent.owner
    assert await ledger.verify() == []
    assert await ledger.unsettled() == []


async def test_of_all_who_settle_it_at_once_one_does(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    sent = await left_open(ledger_kind, tmp_path)

    async def settle(event: Event) -> None:
        await ledger_kind.open(tmp_path).settle(sent, event, f"seen as {event}")

    async with anyio.create_task_group() as group:
        for number in range(OTHERS):
            group.start_soon(settle, "done" if number % 2 else "failed")
    assert (await events(ledger_kind.open(tmp_path)))[:1] == ["sent"]
    assert len(await events(ledger_kind.open(tmp_path))) == 2
    assert await ledger_kind.open(tmp_path).verify() == []


@pytest.mark.parametrize("event", ["done", "failed", "unknown"])
async def test_what_has_its_end_is_not_settled(
    tmp_path: Path, ledger_kind: LedgerKind, event: Event
) -> None:
    sent = await left_open(ledger_kind, tmp_path)
    ledger = ledger_kind.open(tmp_path)
    await ledger.record(event, ATTEMPT)
    await ledger.settle(sent, "failed", "late")
    assert await events(ledger) == ["sent", event]


async def test_an_end_before_the_sending_is_none(tmp_path: Path, ledger_kind: LedgerKind) -> None:
    await ledger_kind.open(tmp_path).record("failed", ATTEMPT)
    sent = await left_open(ledger_kind, tmp_path)
    assert sent.id == 2
    ledger = ledger_kind.open(tmp_path)
    await ledger.settle(sent, "done", "seen")
    assert await events(ledger) == ["failed", "sent", "done"]
    assert await ledger.unsettled() == []


async def test_what_a_living_process_sent_is_nobodys_to_settle(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    alive, other = ledger_kind.open(tmp_path), ledger_kind.open(tmp_path)
    await alive.record("sent", ATTEMPT)
    (sent,) = await other.rows()
    for ledger in (other, alive):
        await ledger.settle(sent, "failed", "not seen")
    assert await events(other) == ["sent"]
    await alive.record("done", ATTEMPT)
    assert await events(other) == ["sent", "done"]
