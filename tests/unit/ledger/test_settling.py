"""Settling: the outcome of an attempt of a dead process is recorded once."""

import json
from pathlib import Path

import anyio
import pytest

from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Attempt, Event, Row
from snapshot_mcp.ledger.process_lock import ProcessLock
from snapshot_mcp.ledger.sqlite import SqliteStore, open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.unit.ledger.ledger_kinds import LedgerKind
from tests.waiting import ANSWER_TIMEOUT_SECONDS

ATTEMPT = Attempt(
    "plan-1", "delete_snapshot", 1701, {"name": "gr\u00f6\u00dfe"}, "local", "form", "Claude"
)
OTHERS = 5


async def wait_for_unsettled(ledger_kind: LedgerKind, folder: Path) -> Row:
    """Return the "sent" row of a process that ended before it recorded the outcome."""
    dead = ledger_kind.open(folder)
    await dead.record("sent", ATTEMPT)
    dead.close()
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while not (rows := await ledger_kind.open(folder).unsettled()):  # noqa: ASYNC110 - there is no event
            await anyio.sleep(0.01)
    return rows[0]


async def read_events(ledger: Ledger) -> list[str]:
    return [row.event for row in await ledger.rows()]


async def test_the_outcome_row_copies_the_attempt_and_names_the_settling_process(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    sent = await wait_for_unsettled(ledger_kind, tmp_path)
    ledger = ledger_kind.open(tmp_path)
    await ledger.settle(sent, "done", "the cloud shows it")
    _, end = await ledger.rows()
    assert json.loads(end.arguments) == ATTEMPT.arguments
    same = ("attempt", "tool", "target", "arguments", "principal", "client", "evidence")
    assert [getattr(end, name) for name in same] == [getattr(sent, name) for name in same]
    assert (end.event, end.reason, end.previous) == ("done", "the cloud shows it", sent.hash)
    assert end.owner != sent.owner
    assert await ledger.verify() == []
    assert await ledger.unsettled() == []


async def test_the_outcome_row_names_what_was_created(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    sent = await wait_for_unsettled(ledger_kind, tmp_path)
    ledger = ledger_kind.open(tmp_path)
    await ledger.settle(sent, "done", "the cloud shows it", result_id=1790)
    _, end = await ledger.rows()
    assert json.loads(end.arguments) == {**ATTEMPT.arguments, "result_id": 1790}
    assert await ledger.verify() == []


async def test_only_one_of_several_processes_settles_an_attempt(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    sent = await wait_for_unsettled(ledger_kind, tmp_path)

    async def settle(event: Event) -> None:
        await ledger_kind.open(tmp_path).settle(sent, event, f"seen as {event}")

    async with anyio.create_task_group() as group:
        for number in range(OTHERS):
            group.start_soon(settle, "done" if number % 2 else "failed")
    assert (await read_events(ledger_kind.open(tmp_path)))[:1] == ["sent"]
    assert len(await read_events(ledger_kind.open(tmp_path))) == 2
    assert await ledger_kind.open(tmp_path).verify() == []


@pytest.mark.parametrize("event", ["done", "failed", "unknown"])
async def test_an_attempt_with_an_outcome_is_not_settled(
    tmp_path: Path, ledger_kind: LedgerKind, event: Event
) -> None:
    sent = await wait_for_unsettled(ledger_kind, tmp_path)
    ledger = ledger_kind.open(tmp_path)
    await ledger.record(event, ATTEMPT)
    await ledger.settle(sent, "failed", "late")
    assert await read_events(ledger) == ["sent", event]


async def test_an_outcome_before_the_sent_row_does_not_count(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    await ledger_kind.open(tmp_path).record("failed", ATTEMPT)
    sent = await wait_for_unsettled(ledger_kind, tmp_path)
    assert sent.id == 2
    ledger = ledger_kind.open(tmp_path)
    await ledger.settle(sent, "done", "seen")
    assert await read_events(ledger) == ["failed", "sent", "done"]
    assert await ledger.unsettled() == []


async def test_attempts_of_a_live_process_are_not_settled(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    alive, other = ledger_kind.open(tmp_path), ledger_kind.open(tmp_path)
    await alive.record("sent", ATTEMPT)
    (sent,) = await other.rows()
    for ledger in (other, alive):
        await ledger.settle(sent, "failed", "not seen")
    assert await read_events(other) == ["sent"]
    await alive.record("done", ATTEMPT)
    assert await read_events(other) == ["sent", "done"]


async def test_a_process_that_reconnects_within_the_grace_time_is_not_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_alive = ProcessLock.is_alive
    looks_dead = iter([True])

    def is_alive_after_first_check(lock: ProcessLock, owner: str) -> bool:
        return not next(looks_dead, False) and is_alive(lock, owner)

    monkeypatch.setattr(SqliteStore, "reconnect_grace_seconds", 0.01)
    monkeypatch.setattr(ProcessLock, "is_alive", is_alive_after_first_check)
    alive, other = (open_sqlite_ledger(tmp_path / LEDGER_FILE, utc_now) for _ in range(2))
    await alive.record("sent", ATTEMPT)
    assert await other.unsettled() == []
    assert next(looks_dead, None) is None  # it did look dead
    alive.close()
    assert [row.attempt for row in await other.unsettled()] == [ATTEMPT.id]
