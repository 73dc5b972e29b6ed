"""Liveness in PostgreSQL: a live process is recognized even while its session is lost."""

import threading
from contextlib import suppress

import anyio
import psycopg
import pytest

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.session_lock import DedicatedSession
from tests.postgres.shared_database import ATTEMPT, SharedDatabase
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.postgres

ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"


def count_leases(shared: SharedDatabase) -> int:
    """Return the number of process leases."""
    with psycopg.connect(shared.url) as connection:
        row = connection.execute(ADVISORY).fetchone()
    assert row is not None
    return int(row[0])


async def wait_for_leases(shared: SharedDatabase, number: int) -> None:
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while await anyio.to_thread.run_sync(count_leases, shared) != number:  # noqa: ASYNC110 - there is no event
            await anyio.sleep(0.01)


async def wait_for_unsettled(ledger: Ledger) -> list[str]:
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while not (rows := await ledger.unsettled()):  # noqa: ASYNC110 - as above
            await anyio.sleep(0.01)
    return [row.attempt for row in rows]


async def test_attempts_of_a_process_with_a_lost_session_are_not_settled(
    shared: SharedDatabase,
) -> None:
    ledger, other = shared.ledger(), shared.ledger()
    await ledger.record("sent", ATTEMPT)
    for _ in range(3):
        assert shared.server.drop_connections(shared.name) >= 1
        # Check immediately: nothing is written before the lease is renewed.
        assert await other.unsettled() == []
        await wait_for_leases(shared, 1)
    await ledger.record("done", ATTEMPT)
    assert [row.event for row in await other.rows()] == ["sent", "done"]


async def test_recovery_waits_for_a_lost_session_to_come_back(
    shared: SharedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, other, tried = shared.ledger(), shared.ledger(), threading.Semaphore(0)
    found: list[object] = []
    await ledger.record("sent", ATTEMPT)
    dedicated_connection = Database.dedicated_connection

    def refuse(_: object) -> psycopg.Connection:
        tried.release()
        raise psycopg.OperationalError("the database is being restarted")

    monkeypatch.setattr(Database, "dedicated_connection", refuse)
    shared.server.drop_connections(shared.name)

    async def read_unsettled() -> None:
        found.extend(await other.unsettled())

    async with anyio.create_task_group() as group:
        await wait_for_leases(shared, 0)
        group.start_soon(read_unsettled)
        for _ in range(3):
            assert await anyio.to_thread.run_sync(
                lambda: tried.acquire(timeout=ANSWER_TIMEOUT_SECONDS)
            )
        monkeypatch.setattr(Database, "dedicated_connection", dedicated_connection)
    assert found == []
    assert await anyio.to_thread.run_sync(count_leases, shared) == 1


async def test_a_closed_ledger_does_not_renew_its_lease(
    shared: SharedDatabase,
) -> None:
    ledger, other = shared.ledger(), shared.ledger()
    await ledger.record("sent", ATTEMPT)
    ledger.close()
    await wait_for_leases(shared, 0)
    assert await wait_for_unsettled(other) == [ATTEMPT.id]
    with suppress(LedgerError):
        await other.record("sent", ATTEMPT._replace(id="plan-2"))
    await wait_for_leases(shared, 1)


async def test_closing_does_not_wait_for_a_session_that_is_being_opened(
    shared: SharedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, started, may_continue = shared.ledger(), threading.Event(), threading.Event()
    await ledger.record("sent", ATTEMPT)
    dedicated_connection = Database.dedicated_connection

    def slow(database: Database) -> psycopg.Connection:
        started.set()
        assert may_continue.wait(2 * ANSWER_TIMEOUT_SECONDS)
        return dedicated_connection(database)

    monkeypatch.setattr(Database, "dedicated_connection", slow)
    shared.server.drop_connections(shared.name)
    assert await anyio.to_thread.run_sync(started.wait, ANSWER_TIMEOUT_SECONDS)
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        await anyio.to_thread.run_sync(ledger.close)
    may_continue.set()
    await wait_for_leases(shared, 0)


def test_a_session_after_an_error_is_new_and_holds_no_lock(shared: SharedDatabase) -> None:
    session = DedicatedSession(shared.database())
    with suppress(psycopg.Error), session.connection() as (connection, _):
        connection.execute("SELECT 1/0")
    with session.connection() as (_, is_new):
        assert is_new
    with session.connection() as (_, is_new):
        assert not is_new
    session.close()
    assert not session.is_quiet(0.1)
