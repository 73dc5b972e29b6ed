"""What only the ledger in PostgreSQL promises: its guards, lost connections, waits with an end."""

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
from tests.postgres.shared import ATTEMPT, Shared, now
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.postgres


@contextmanager
def frozen(server: Server) -> Generator[None]:
    """A database machine that answers nobody, and breaks no connection either."""
    pids = [server.process.pid, *_children(server.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123 - not a file one has
        return [int(word) for word in file.read().split()]


# Its guards.


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
async def test_the_database_itself_refuses_to_change_or_forget_a_row(
    shared: Shared, statement: LiteralString
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
async def test_what_was_done_behind_its_back_is_named(
    shared: Shared, statement: LiteralString, sentence: str
) -> None:
    ledger = shared.ledger()
    for event in ("planned", "sent", "done"):
        await ledger.record(event, ATTEMPT)
    assert await ledger.verify() == []
    shared.change(statement)
    assert sentence in " ".join(await ledger.verify())


async def test_a_removed_end_stays_found_when_more_is_written(shared: Shared) -> None:
    ledger = shared.ledger()
    for event in ("planned", "sent", "done"):
        await ledger.record(event, ATTEMPT)
    shared.change("DELETE FROM attempts WHERE id > 1")
    await ledger.record("planned", ATTEMPT)
    assert await ledger.verify() == [
        "Row 4: row 2 is expected here; rows were removed or renumbered."
    ]


async def test_verifying_makes_nothing_in_a_database_without_a_ledger(shared: Shared) -> None:
    assert await shared.ledger().verify() == []
    with psycopg.connect(shared.url) as connection:
        query = "SELECT count(*) FROM pg_namespace WHERE nspname = 'snapshot_mcp'"
        assert connection.execute(query).fetchone() == (0,)


async def test_a_ledger_of_a_newer_version_is_not_written_to(shared: Shared) -> None:
    await shared.ledger().record("planned", ATTEMPT)
    shared.change("UPDATE counter SET version = 2")
    with pytest.raises(LedgerError, match="newer version"):
        await shared.ledger().record("sent", ATTEMPT)
    shared.change("UPDATE counter SET version = 1")
    assert len(await shared.ledger().rows()) == 1


async def test_letters_that_postgresql_does_not_store_are_replaced(shared: Shared) -> None:
    ledger = shared.ledger()
    odd = ATTEMPT._replace(client="a\0b", principal="p\0\ud800")
    await ledger.record("refused", odd, "why\0")
    (row,) = await ledger.rows()
    assert (row.client, row.principal, row.reason) == ("a\ufffdb", "p\ufffd?", "why\ufffd")
    assert await ledger.verify() == []


# What happens to connections.


async def test_lost_connections_are_made_again_and_nothing_is_lost_or_doubled(
    shared: Shared,
) -> None:
    ledger, cuts, told = shared.ledger(), 0, list[str]()
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
            told.append(attempt.id)

    async with anyio.create_task_group() as group:
        for name in "abcde":
            group.start_soon(write, name)
        for _ in range(4):
            before = len(told)
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                while len(told) < before + 20:  # noqa: ASYNC110 - it goes on after every cut
                    await anyio.sleep(0.01)
            cuts += await anyio.to_thread.run_sync(shared.server.cut, shared.name)
        done.set()
    sent = [row.attempt for row in await shared.ledger().rows(event="sent")]
    assert len(sent) == len(set(sent))
    assert set(told) <= set(sent)
    assert cuts >= 8
    assert await shared.ledger().verify() == []


async def test_a_row_whose_commit_was_not_answered_is_not_taken_for_somebody_elses(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
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


async def test_a_sign_of_life_that_was_cut_is_given_again_before_the_next_row(
    shared: Shared,
) -> None:
    ledger, other = shared.ledger(), shared.ledger()
    await ledger.record("sent", ATTEMPT)
    shared.server.cut(shared.name)
    await ledger.record("sent", ATTEMPT._replace(id="plan-2"))
    assert await other.unsettled() == []
    assert len({row.owner for row in await other.rows()}) == 1
    ledger.close()
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while len(await other.unsettled()) < 2:  # noqa: ASYNC110 - the database tells nobody
            await anyio.sleep(0.01)


async def test_a_database_that_answers_nobody_is_told_in_time_and_in_our_words(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snapshot_mcp.ledger.postgres.database.QUERY_TIMEOUT_SECONDS", 1.0)
    ledger = shared.ledger()
    await ledger.record("planned", ATTEMPT)
    with frozen(shared.server):
        begin = time.monotonic()
        with pytest.raises(LedgerError, match="Nothing was changed") as caught:
            await ledger.record("sent", ATTEMPT)
        assert time.monotonic() - begin < 15  # without the limit, 20 s
    assert "SNAPSHOT_MCP_DATABASE_URL" in str(caught.value)
    assert PASSWORD not in repr(caught.value.__cause__)
    assert await ledger.was_sent("no such plan") is False


@pytest.mark.parametrize("address", ["closed port", "wrong password", "no such database"])
async def test_a_database_that_cannot_be_used_means_that_nothing_is_sent(
    shared: Shared, address: str
) -> None:
    urls = {
        "closed port": f"postgresql://team:{PASSWORD}@127.0.0.1:1/x",
        "wrong password": shared.server.url(shared.name, password="other"),  # noqa: S106 - a wrong one
        "no such database": shared.server.url("nowhere"),
    }
    begin = time.monotonic()
    with open_ledger_backend(None, SecretStr(urls[address]), now) as records:  # pyright: ignore[reportArgumentType] - no folder is touched
        with pytest.raises(LedgerError, match="Nothing was changed") as caught:
            await records.ledger.record("sent", ATTEMPT)
        assert PASSWORD not in str(caught.value)
    assert time.monotonic() - begin < ANSWER_TIMEOUT_SECONDS


# What is held across replicas.


async def test_one_change_goes_on_at_a_time_in_all_replicas(shared: Shared) -> None:
    turns = [ChangeLock(shared.database()) for _ in range(3)]
    inside, most, done = 0, 0, 0

    async def change(alone: ChangeLock) -> None:
        nonlocal inside, most, done
        for _ in range(5):
            async with alone.hold():
                inside += 1
                most = max(most, inside)
                await anyio.sleep(0.005)
                inside -= 1
                done += 1

    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            for alone in turns:
                group.start_soon(change, alone)
    assert (most, done) == (1, 15)
    for alone in turns:
        alone.close()


async def test_who_stopped_waiting_for_the_turn_does_not_keep_it_from_others(
    shared: Shared,
) -> None:
    first, second, third = (ChangeLock(shared.database()) for _ in range(3))
    async with first.hold():
        with anyio.move_on_after(0.3) as waited:
            async with second.hold():
                pytest.fail("two had the turn")
        assert waited.cancelled_caught
    # The thread of the second one may get it, and gives it up.
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        for alone in (third, second, first):
            async with alone.hold():
                pass
    for alone in (first, second, third):
        alone.close()


async def test_the_turn_of_a_replica_that_is_gone_is_free(shared: Shared) -> None:
    first, second = ChangeLock(shared.database()), ChangeLock(shared.database())
    async with first.hold():
        shared.server.cut(shared.name)
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            async with second.hold():
                pass
    first.close()
    second.close()


async def test_replicas_together_send_no_more_than_the_limit_and_reads_leave_room_for_writes(
    shared: Shared,
) -> None:
    allowances = [SharedRateLimiter(shared.database(), 30, 5) for _ in range(3)]
    permitted: list[str] = []

    async def send(allowance: SharedRateLimiter) -> None:
        for _ in range(20):
            if await allowance.try_acquire("reads") == 0:
                assert await until(allowance) == 0
                permitted.append("read")

    async def until(allowance: SharedRateLimiter) -> float:
        # A moment, where another replica counts just now.
        while 0 < (seconds := await allowance.try_acquire("all")) < 1:  # noqa: ASYNC110 - as above
            await anyio.sleep(seconds)
        return seconds

    async with anyio.create_task_group() as group:
        for allowance in allowances:
            group.start_soon(send, allowance)
    assert permitted == ["read"] * 25
    assert [await until(allowances[number % 3]) == 0 for number in range(6)] == [True] * 5 + [False]
    assert 50 < await allowances[0].try_acquire("all") <= 61


async def test_limits_an_hour_hold_across_replicas(shared: Shared) -> None:
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
