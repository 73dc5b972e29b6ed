"""A process that is alive is known as such, whatever happens to its sessions meanwhile."""

import threading
from contextlib import suppress

import anyio
import psycopg
import pytest

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.session_lock import DedicatedSession
from tests.postgres.shared import ATTEMPT, Shared
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.postgres

ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"


def signs(shared: Shared) -> int:
    """How many signs of life there are just now."""
    with psycopg.connect(shared.url) as connection:
        row = connection.execute(ADVISORY).fetchone()
    assert row is not None
    return int(row[0])


async def until(shared: Shared, number: int) -> None:
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while await anyio.to_thread.run_sync(signs, shared) != number:  # noqa: ASYNC110 - the database tells nobody
            await anyio.sleep(0.01)


async def left_open(ledger: Ledger) -> list[str]:
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while not (rows := await ledger.unsettled()):  # noqa: ASYNC110 - as above
            await anyio.sleep(0.01)
    return [row.attempt for row in rows]


async def test_what_is_under_way_is_nobodys_to_settle_when_its_session_is_cut(
    shared: Shared,
) -> None:
    ledger, other = shared.ledger(), shared.ledger()
    await ledger.record("sent", ATTEMPT)
    for _ in range(3):
        assert shared.server.cut(shared.name) >= 1
        # Nothing is written meanwhile, and whoever looks may look in this very moment.
        assert await other.unsettled() == []
        await until(shared, 1)
    await ledger.record("done", ATTEMPT)
    assert [row.event for row in await other.rows()] == ["sent", "done"]


async def test_who_looks_while_a_session_is_away_waits_for_it_to_come_back(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, other, tried = shared.ledger(), shared.ledger(), threading.Semaphore(0)
    found: list[object] = []
    await ledger.record("sent", ATTEMPT)
    alone = Database.dedicated_connection

    def refuse(_: object) -> psycopg.Connection:
        tried.release()
        raise psycopg.OperationalError("the database is being restarted")

    monkeypatch.setattr(Database, "dedicated_connection", refuse)
    shared.server.cut(shared.name)

    async def look() -> None:
        found.extend(await other.unsettled())

    async with anyio.create_task_group() as group:
        await until(shared, 0)
        group.start_soon(look)
        for _ in range(3):
            assert await anyio.to_thread.run_sync(
                lambda: tried.acquire(timeout=ANSWER_TIMEOUT_SECONDS)
            )
        monkeypatch.setattr(Database, "dedicated_connection", alone)
    assert found == []
    assert await anyio.to_thread.run_sync(signs, shared) == 1


async def test_a_process_that_ended_or_closed_its_ledger_gives_no_sign_again(
    shared: Shared,
) -> None:
    ledger, other = shared.ledger(), shared.ledger()
    await ledger.record("sent", ATTEMPT)
    ledger.close()
    await until(shared, 0)
    assert await left_open(other) == [ATTEMPT.id]
    with suppress(LedgerError):
        await other.record("sent", ATTEMPT._replace(id="plan-2"))
    await until(shared, 1)


async def test_closing_does_not_wait_for_a_session_that_is_being_made(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, begun, goes_on = shared.ledger(), threading.Event(), threading.Event()
    await ledger.record("sent", ATTEMPT)
    alone = Database.dedicated_connection

    def slow(database: Database) -> psycopg.Connection:
        begun.set()
        assert goes_on.wait(2 * ANSWER_TIMEOUT_SECONDS)
        return alone(database)

    monkeypatch.setattr(Database, "dedicated_connection", slow)
    shared.server.cut(shared.name)
    assert await anyio.to_thread.run_sync(begun.wait, ANSWER_TIMEOUT_SECONDS)
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        await anyio.to_thread.run_sync(ledger.close)
    goes_on.set()
    await until(shared, 0)


def test_a_session_whose_holding_failed_is_not_taken_for_one_that_holds(shared: Shared) -> None:
    session = DedicatedSession(shared.database())
    with suppress(psycopg.Error), session.connection() as (connection, _):
        connection.execute("SELECT 1/0")
    with session.connection() as (_, is_new):
        assert is_new
    with session.connection() as (_, is_new):
        assert not is_new
    session.close()
    assert not session.is_quiet(0.1)
