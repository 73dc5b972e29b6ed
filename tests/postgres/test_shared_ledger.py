"""The PostgreSQL ledger: tamper protection, lost connections, time limits, shared locks."""

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from typing import LiteralString

import anyio
import psycopg
import pytest
from pydantic import SecretStr

from snapshot_mcp.core.errors import LedgerError, RefusedError
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import RateLimit
from snapshot_mcp.ledger.postgres.change_lock import ChangeLock
from snapshot_mcp.ledger.postgres.rate_limit import SharedRateLimiter
from tests.postgres.server import PASSWORD, Server
from tests.postgres.shared_database import ATTEMPT, KEY, SharedDatabase, now
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.postgres


@contextmanager
def paused(server: Server) -> Generator[None]:
    """Pause the database server, so that it neither responds nor closes connections."""
    pids = [server.process.pid, *_children(server.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123 - not a regular file
        return [int(word) for word in file.read().split()]


# Tamper protection.


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE snapshot_mcp.attempts SET event = 'done'",
        "DELETE FROM snapshot_mcp.attempts",
        "TRUNCATE snapshot_mcp.attempts",
        "UPDATE snapshot_mcp.counter SET last = 1",
        "DELETE FROM snapshot_mcp.counter",
        "TRUNCATE snapshot_mcp.counter",
        "INSERT INTO snapshot_mcp.counter VALUES (1, 9)",
    ],
)
async def test_the_database_refuses_to_update_or_delete_a_row(
    shared: SharedDatabase, statement: LiteralString
) -> None:
    ledger = shared.ledger()
    await ledger.record("sent", ATTEMPT)
    with (
        psycopg.connect(shared.url) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="append-only"),
    ):
        connection.execute(statement)
    assert len(await ledger.rows()) == 1
    assert await ledger.verify() == []


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE attempts SET reason = 'x' WHERE id = 2", "Row 2: it was altered"),
        ("UPDATE attempts SET at = '' WHERE id = 2", "Row 2: it was altered"),
        ("DELETE FROM attempts WHERE id = 2", "Row 3: row 2 is expected here"),
        ("DELETE FROM attempts WHERE id = 3", "Row 3: the last row is missing"),
        ("UPDATE counter SET last = 2", "the database's row counter was altered"),
        ("DELETE FROM counter", "the database's row counter was altered"),
        ("DROP INDEX one_sent_row_an_attempt", "The index one_sent_row_an_attempt is missing"),
        ("DROP TRIGGER attempts_are_kept ON attempts", "The trigger attempts_are_kept is missing"),
        ("ALTER TABLE attempts DISABLE TRIGGER attempts_are_kept", "attempts_are_kept is missing"),
        ("CREATE TABLE more (x int)", "1 tables, indexes or triggers do not belong to the ledger."),
        (
            "ALTER TABLE attempts RENAME reason TO why",
            "The table attempts is missing",
        ),
        ("ALTER TABLE counter ADD more int", "The table counter is missing or was altered."),
        (
            """CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RETURN NULL; END'""",
            "The trigger attempts_are_kept is missing or was altered.",
        ),
    ],
)
async def test_tampering_is_named(
    shared: SharedDatabase, statement: LiteralString, sentence: str
) -> None:
    ledger = shared.ledger()
    for event in ("planned", "sent", "done"):
        await ledger.record(event, ATTEMPT)
    assert await ledger.verify() == []
    shared.tamper(statement)
    assert sentence in " ".join(await ledger.verify())


async def test_removed_last_rows_are_found_also_after_new_rows(shared: SharedDatabase) -> None:
    ledger = shared.ledger()
    for event in ("planned", "sent", "done"):
        await ledger.record(event, ATTEMPT)
    shared.tamper("DELETE FROM attempts WHERE id > 1")
    with pytest.raises(RefusedError, match="lost its last rows"):
        await shared.ledger().record("planned", ATTEMPT)
    await ledger.record("refused", ATTEMPT)
    gap, lost, *_ = await ledger.verify()
    assert gap == "Row 4: row 2 is expected here; rows were removed or renumbered."
    assert "The ledger was emptied or replaced by an older copy." in lost
    for process in (ledger, shared.ledger()):
        with pytest.raises(RefusedError, match="lost its last rows"):
            await process.record("planned", ATTEMPT)
    await shared.ledger().acknowledge_loss("row 2 is missing")
    await ledger.record("planned", ATTEMPT)


async def test_a_plan_is_void_after_its_ledger_was_restored(shared: SharedDatabase) -> None:
    ledger, plan = shared.ledger(), ATTEMPT._replace(plan=ATTEMPT.id)
    await ledger.record("planned", ATTEMPT)
    await ledger.check_plan(ATTEMPT.id)
    rows = await ledger.rows()
    await ledger.record("sent", plan)
    with psycopg.connect(shared.url) as connection:  # as pg_restore does with a backup
        connection.execute("SET search_path TO snapshot_mcp")
        connection.execute("CREATE TABLE backup (LIKE attempts INCLUDING ALL)")
        connection.execute("INSERT INTO backup SELECT * FROM attempts WHERE id = 1")
        connection.execute("DROP TABLE attempts")
        connection.execute("ALTER TABLE backup RENAME TO attempts")
        connection.execute("ALTER TABLE counter DISABLE TRIGGER ALL")
        connection.execute("UPDATE counter SET last = 1")
    other = shared.ledger()
    assert await other.rows() == rows
    for use in (other.check_plan(ATTEMPT.id), other.record("sent", plan)):
        with pytest.raises(RefusedError, match="record of this plan is missing"):
            await use
    with pytest.raises(RefusedError, match="lost its last rows"):
        await ledger.record("planned", ATTEMPT)


async def test_verifying_creates_nothing_in_an_empty_database(shared: SharedDatabase) -> None:
    assert await shared.ledger().verify() == []
    with psycopg.connect(shared.url) as connection:
        query = "SELECT count(*) FROM pg_namespace WHERE nspname = 'snapshot_mcp'"
        assert connection.execute(query).fetchone() == (0,)


async def test_a_ledger_of_a_newer_version_is_not_written_to(shared: SharedDatabase) -> None:
    await shared.ledger().record("planned", ATTEMPT)
    shared.tamper("UPDATE counter SET version = 3")
    with pytest.raises(LedgerError, match="newer version"):
        await shared.ledger().record("sent", ATTEMPT)
    shared.tamper("UPDATE counter SET version = 2")
    assert len(await shared.ledger().rows()) == 1


async def test_characters_that_postgresql_cannot_store_are_replaced(shared: SharedDatabase) -> None:
    ledger = shared.ledger()
    odd = ATTEMPT._replace(client="a\0b", principal="p\0\ud800")
    await ledger.record("refused", odd, "why\0")
    (row,) = await ledger.rows()
    assert (row.client, row.principal, row.reason) == ("a\ufffdb", "p\ufffd?", "why\ufffd")
    assert await ledger.verify() == []


# Connections.


async def test_lost_connections_are_reopened_and_no_row_is_lost_or_duplicated(
    shared: SharedDatabase,
) -> None:
    ledger, cuts, recorded = shared.ledger(), 0, list[str]()
    await ledger.record("planned", ATTEMPT)
    done = anyio.Event()

    async def write(name: str) -> None:
        for turn in count():
            if done.is_set():
                return
            attempt = ATTEMPT._replace(id=f"plan-{name}-{turn}")
            try:
                await ledger.record("sent", attempt)
            except LedgerError:
                continue
            recorded.append(attempt.id)

    async with anyio.create_task_group() as group:
        for name in "abcde":
            group.start_soon(write, name)
        for _ in range(4):
            before = len(recorded)
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                while len(recorded) < before + 20:  # noqa: ASYNC110 - there is no event
                    await anyio.sleep(0.01)
            cuts += await anyio.to_thread.run_sync(shared.server.drop_connections, shared.name)
        done.set()
    sent = [row.attempt for row in await shared.ledger().rows(event="sent")]
    assert len(sent) == len(set(sent))
    assert set(recorded) <= set(sent)
    assert cuts >= 8
    assert await shared.ledger().verify() == []


async def test_a_row_whose_commit_was_not_confirmed_is_recognized_as_its_own(
    shared: SharedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, lost = shared.ledger(), [0]
    await ledger.record("planned", ATTEMPT)
    commit = psycopg.Connection.commit

    def commit_and_lose(connection: psycopg.Connection) -> None:
        commit(connection)
        if not lost[0]:
            lost[0] += 1
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(psycopg.Connection, "commit", commit_and_lose)
    await ledger.record("sent", ATTEMPT)
    assert lost == [1]
    assert [row.event for row in await ledger.rows()] == ["planned", "sent"]
    with pytest.raises(RefusedError, match="already used"):
        await ledger.record("sent", ATTEMPT)


async def test_a_lost_process_lease_is_renewed_before_the_next_row(
    shared: SharedDatabase,
) -> None:
    ledger, other = shared.ledger(), shared.ledger()
    await ledger.record("sent", ATTEMPT)
    shared.server.drop_connections(shared.name)
    await ledger.record("sent", ATTEMPT._replace(id="plan-2"))
    assert await other.unsettled() == []
    assert len({row.owner for row in await other.rows()}) == 1
    ledger.close()
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while len(await other.unsettled()) < 2:  # noqa: ASYNC110 - there is no event
            await anyio.sleep(0.01)


async def test_an_unresponsive_database_is_reported_within_the_time_limit(
    shared: SharedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snapshot_mcp.ledger.postgres.database.QUERY_TIMEOUT_SECONDS", 1.0)
    ledger = shared.ledger()
    await ledger.record("planned", ATTEMPT)
    with paused(shared.server):
        started = time.monotonic()
        with pytest.raises(LedgerError, match="Nothing was changed") as caught:
            await ledger.record("sent", ATTEMPT)
        assert time.monotonic() - started < 15  # without the limit, 20 s
    assert "SNAPSHOT_MCP_DATABASE_URL" in str(caught.value)
    assert PASSWORD not in repr(caught.value.__cause__)
    assert await ledger.was_sent("no such plan") is False


@pytest.mark.parametrize("address", ["closed port", "wrong password", "no such database"])
async def test_nothing_is_sent_if_the_database_cannot_be_used(
    shared: SharedDatabase, address: str
) -> None:
    urls = {
        "closed port": f"postgresql://team:{PASSWORD}@127.0.0.1:1/x",
        "wrong password": shared.server.url(shared.name, password="other"),  # noqa: S106 - a wrong password
        "no such database": shared.server.url("nowhere"),
    }
    started = time.monotonic()
    with open_ledger_backend(None, SecretStr(urls[address]), now, KEY) as backend:  # pyright: ignore[reportArgumentType] - no folder is touched
        with pytest.raises(LedgerError, match="Nothing was changed") as caught:
            await backend.ledger.record("sent", ATTEMPT)
        assert PASSWORD not in str(caught.value)
    assert time.monotonic() - started < ANSWER_TIMEOUT_SECONDS


# Shared by replicas.


async def test_one_change_at_a_time_across_all_replicas(shared: SharedDatabase) -> None:
    locks = [ChangeLock(shared.database()) for _ in range(3)]
    inside, most, done = 0, 0, 0

    async def change(change_lock: ChangeLock) -> None:
        nonlocal inside, most, done
        for _ in range(5):
            async with change_lock.hold():
                inside += 1
                most = max(most, inside)
                await anyio.sleep(0.005)
                inside -= 1
                done += 1

    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            for change_lock in locks:
                group.start_soon(change, change_lock)
    assert (most, done) == (1, 15)
    for change_lock in locks:
        change_lock.close()


async def test_a_cancelled_wait_does_not_keep_the_change_lock(
    shared: SharedDatabase,
) -> None:
    first, second, third = (ChangeLock(shared.database()) for _ in range(3))
    async with first.hold():
        with anyio.move_on_after(0.3) as waited:
            async with second.hold():
                pytest.fail("two replicas held the lock")
        assert waited.cancelled_caught
    # The thread of the second one may still get the lock; it then releases it.
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        for change_lock in (third, second, first):
            async with change_lock.hold():
                pass
    for change_lock in (first, second, third):
        change_lock.close()


async def test_the_change_lock_of_a_lost_session_is_released(shared: SharedDatabase) -> None:
    first, second = ChangeLock(shared.database()), ChangeLock(shared.database())
    async with first.hold():
        shared.server.drop_connections(shared.name)
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            async with second.hold():
                pass
    first.close()
    second.close()


async def test_the_rate_limit_holds_across_replicas_and_reserves_requests_for_writes(
    shared: SharedDatabase,
) -> None:
    rate_limiters = [SharedRateLimiter(shared.database(), 30, 5) for _ in range(3)]
    permitted: list[str] = []

    async def send(rate_limiter: SharedRateLimiter) -> None:
        for _ in range(20):
            if await rate_limiter.try_acquire("reads", "alice") == 0:
                assert await acquire(rate_limiter) == 0
                permitted.append("read")

    async def acquire(rate_limiter: SharedRateLimiter) -> float:
        # If another replica is counting, try again after a moment.
        while 0 < (seconds := await rate_limiter.try_acquire("all", "alice")) < 1:  # noqa: ASYNC110 - as above
            await anyio.sleep(seconds)
        return seconds

    async with anyio.create_task_group() as group:
        for rate_limiter in rate_limiters:
            group.start_soon(send, rate_limiter)
    assert permitted == ["read"] * 25
    assert [await acquire(rate_limiters[number % 3]) == 0 for number in range(6)] == [True] * 5 + [
        False
    ]
    assert 50 < await rate_limiters[0].try_acquire("all", "alice") <= 61


async def test_the_share_of_a_principal_counts_its_requests_through_all_replicas(
    shared: SharedDatabase,
) -> None:
    rate_limiters = [SharedRateLimiter(shared.database(), 30, 6) for _ in range(2)]

    async def use_share(principal: str) -> int:
        for number in range(30):
            rate_limiter = rate_limiters[number % 2]
            if await rate_limiter.seconds_until_share(principal):
                return number
            assert await rate_limiter.try_acquire("all", principal) == 0
        raise AssertionError

    # Each uses half of what the others have left of 24, and the next is still served.
    assert [await use_share(principal) for principal in ("alice", "bob", "carol")] == [12, 6, 3]
    assert await rate_limiters[0].seconds_until_share("dave") == 0
    assert 50 < await rate_limiters[1].seconds_until_share("alice") <= 61


async def test_hourly_limits_hold_across_replicas(shared: SharedDatabase) -> None:
    ledgers, sent = [shared.ledger() for _ in range(3)], list[str]()

    async def send(ledger: Ledger, name: str) -> None:
        for number in range(4):
            attempt = ATTEMPT._replace(id=f"{name}-{number}")
            try:
                await ledger.record("sent", attempt, rate_limit=RateLimit(5, 3_600))
            except RefusedError:
                continue
            sent.append(attempt.id)

    async with anyio.create_task_group() as group:
        for number, ledger in enumerate(ledgers):
            group.start_soon(send, ledger, str(number))
    assert len(sent) == 5
    assert await ledgers[0].sent_within("delete_snapshot", 3_600) == 5
