"""The ledger: every attempt is recorded before it is sent, once, in order, and append-only."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import anyio
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from snapshot_mcp.core.errors import LedgerError, RefusedError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import ORIGIN_ARGUMENT, Argument, Attempt, Event, RateLimit
from snapshot_mcp.ledger.sqlite import SqliteStore, open_sqlite_ledger
from snapshot_mcp.settings.signing_key import SigningKey
from tests.unit.ledger.ledger_kinds import NOW, OPEN_LEDGER_PROGRAM, LedgerKind
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process

T = TypeVar("T")
ATTEMPT = Attempt("plan-1", "delete_snapshot", 1701, {}, "local", "arguments")

SEND_FIVE_AT_ONCE = f"""{OPEN_LEDGER_PROGRAM}
import anyio
from snapshot_mcp.ledger.chain import Attempt
from snapshot_mcp.core.errors import RefusedError

async def main():
    for number in range(5):
        attempt = Attempt(f"plan-{{number}}", "delete_snapshot", 1, {{}}, "local", "arguments")
        with open_ledger() as backend:
            try:
                await backend.ledger.record("sent", attempt)
            except RefusedError:
                print("refused")
            else:
                print(f"sent {{number}}")

print("ready", flush=True)
sys.stdin.readline()
anyio.run(main)
"""


def sqlite_ledger(folder: Path) -> Ledger:
    return open_sqlite_ledger(folder / "ledger.db", lambda: NOW)


async def test_a_row_contains_the_attempt_and_the_time(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    ledger = ledger_kind.open(tmp_path / "not" / "yet")
    attempt = ATTEMPT._replace(
        arguments={"name": "größe", "labels": ["a"], "wait": 3, "ok": True}, client="an assistant"
    )
    await ledger.record("sent", attempt)
    await ledger.record("failed", attempt, "Conflict")
    sent, failed = await ledger.rows()
    assert sent.at == "2026-11-20T12:00:00.123+00:00"
    assert (sent.event, sent.attempt, sent.tool, sent.target) == (
        "sent",
        "plan-1",
        "delete_snapshot",
        1701,
    )
    assert json.loads(sent.arguments) == attempt.arguments
    assert (sent.principal, sent.evidence, sent.reason) == ("local", "arguments", "")
    assert (sent.id, sent.client, sent.previous) == (1, "an assistant", "0" * 64)
    assert (failed.id, failed.owner, failed.previous) == (2, sent.owner, sent.hash)
    assert (failed.event, failed.reason) == ("failed", "Conflict")


async def test_rows_are_returned_in_the_order_in_which_they_were_written(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    times = iter([NOW, NOW - timedelta(days=1), NOW + timedelta(days=1), NOW])
    ledger = ledger_kind.open(tmp_path, lambda: next(times))
    for number in (3, 1, 2, 0):
        await ledger.record("sent", ATTEMPT._replace(id=f"plan-{number}", target=number))
    assert [row.target for row in await ledger.rows()] == [3, 1, 2, 0]
    assert [row.target for row in await ledger_kind.open(tmp_path).rows()] == [3, 1, 2, 0]


events = st.tuples(
    st.sampled_from(get_args(Event)),
    st.sampled_from(["plan-1", "plan-2", "plan-3"]),
)
arguments = st.dictionaries(
    st.text(max_size=5),
    st.text(max_size=10) | st.integers() | st.booleans() | st.lists(st.text(max_size=5)),
    max_size=3,
)


@given(st.lists(st.tuples(events, arguments), max_size=6))
# Each example has its own folder and ledger.
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_attempt_is_sent_at_most_once(
    ledger_kind: LedgerKind,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[tuple[Event, str], dict[str, Argument]]],
) -> None:
    folder = tmp_path_factory.mktemp("ledger")

    async def play() -> None:
        ledger, expected, sent = (
            ledger_kind.open(folder),
            list[tuple[str, str, object]](),
            set[str](),
        )
        for (event, attempt_id), given_arguments in steps:
            assert await ledger.was_sent(attempt_id) == (attempt_id in sent)
            attempt = ATTEMPT._replace(id=attempt_id, arguments=given_arguments)
            if event == "sent" and attempt_id in sent:
                with pytest.raises(RefusedError, match="already used"):
                    await ledger.record(event, attempt)
                continue
            await ledger.record(event, attempt)
            expected.append((event, attempt_id, given_arguments))
            sent |= {attempt_id} if event == "sent" else set()
        rows = await ledger.rows()
        stored = [(row.event, row.attempt, json.loads(row.arguments)) for row in rows]
        for event, _, stored_arguments in stored:
            if event == "planned":
                stored_arguments.pop(ORIGIN_ARGUMENT, None)
        assert stored == expected
        assert await ledger.verify() == []

    anyio.run(play)


async def test_sending_a_plan_again_is_refused_and_adds_no_row(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    await ledger_kind.open(tmp_path).record("sent", ATTEMPT)
    with pytest.raises(RefusedError, match="already used"):
        await ledger_kind.open(tmp_path).record("sent", ATTEMPT._replace(target=9, tool="other"))
    assert len(await ledger_kind.open(tmp_path).rows()) == 1


async def test_only_one_of_several_tasks_may_send_a_plan(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    outcomes: list[str] = []

    async def send() -> None:
        try:
            await ledger_kind.open(tmp_path).record("sent", ATTEMPT)
        except RefusedError:
            outcomes.append("refused")
        else:
            outcomes.append("sent")

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(send)
    assert sorted(outcomes) == ["refused"] * 5 + ["sent"]


def test_only_one_of_several_processes_may_send_a_plan(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    folder = tmp_path / "data"
    command = [sys.executable, "-c", SEND_FIVE_AT_ONCE, *ledger_kind.program_arguments(folder)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with ExitStack() as stack:
        processes = [stack.enter_context(start_process(command, **pipes)) for _ in range(3)]
        for process in processes:
            assert read_line(process.stdout) == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=ANSWER_TIMEOUT_SECONDS) for process in processes]
    assert [errors for _, errors in answers] == [""] * 3
    lines = [line for output, _ in answers for line in output.splitlines()]
    assert sorted(line for line in lines if line != "refused") == [f"sent {n}" for n in range(5)]
    assert lines.count("refused") == 10
    assert anyio.run(ledger_kind.open(folder).verify) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE attempts SET event = 'done'",
        "UPDATE attempts SET reason = '' WHERE id = 1",
        "DELETE FROM attempts",
        "DELETE FROM attempts WHERE id = 1",
    ],
)
async def test_the_database_refuses_to_update_or_delete_a_row(
    tmp_path: Path, statement: str
) -> None:
    ledger = sqlite_ledger(tmp_path)
    await ledger.record("sent", ATTEMPT, "as it was")
    before = await ledger.rows()
    with (
        closing(sqlite3.connect(tmp_path / "ledger.db")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    assert await ledger.rows() == before


async def test_nothing_is_sent_if_the_folder_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ledger = sqlite_ledger(tmp_path / "file")
    for call in (
        lambda: ledger.record("sent", ATTEMPT),
        lambda: ledger.was_sent("plan-1"),
        ledger.rows,
    ):
        with pytest.raises(LedgerError, match="Nothing was changed"):
            await call()


async def test_a_file_that_is_not_a_ledger_is_reported_and_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"not a database, but another file" * 100)
    before = file.read_bytes()
    with pytest.raises(LedgerError):
        await sqlite_ledger(tmp_path).record("sent", ATTEMPT)
    assert file.read_bytes() == before
    (tmp_path / "folder").mkdir()
    with pytest.raises(LedgerError):
        await open_sqlite_ledger(tmp_path / "folder", lambda: NOW).rows()


async def test_a_ledger_of_a_newer_version_is_not_written_to(tmp_path: Path) -> None:
    await sqlite_ledger(tmp_path).record("sent", ATTEMPT)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 4")
    for call in (
        lambda: sqlite_ledger(tmp_path).record("done", ATTEMPT),
        sqlite_ledger(tmp_path).rows,
        sqlite_ledger(tmp_path).verify,
    ):
        with pytest.raises(LedgerError, match="newer version"):
            await call()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (1,)


async def test_nothing_is_sent_while_the_ledger_stays_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger(tmp_path)
    await ledger.record("sent", ATTEMPT)
    monkeypatch.setattr("snapshot_mcp.ledger.sqlite._LOCK_TIMEOUT_SECONDS", 0.05)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="OperationalError"):
            await ledger.record("done", ATTEMPT)
        assert await ledger.was_sent("plan-1")
    assert len(await ledger.rows()) == 1


async def test_creating_the_ledger_waits_for_another_process_that_creates_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Source: setting journal_mode to WAL fails immediately with "locked", without waiting, if
    # another connection has begun to write.
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    class Connection(sqlite3.Connection):
        """Ends the other transaction after the journal mode was tried, or before a write."""

        tried = False

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - SQL parameters
            if self.tried or sql.startswith("INSERT"):
                other.close()
            self.tried = self.tried or "journal_mode =" in sql
            return super().execute(sql, *parameters)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    with closing(other):
        await sqlite_ledger(tmp_path).record("sent", ATTEMPT)
    assert await sqlite_ledger(tmp_path).was_sent("plan-1")


async def test_an_empty_ledger_has_no_rows(tmp_path: Path, ledger_kind: LedgerKind) -> None:
    assert await ledger_kind.open(tmp_path).rows() == []
    assert not await ledger_kind.open(tmp_path).was_sent("plan-1")


async def test_untrusted_text_is_truncated_and_arguments_remain_json(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    ledger = ledger_kind.open(tmp_path)
    long = ATTEMPT._replace(arguments={"labels": ['"\\'] * 5_000}, client="c\ud800" * 500)
    await ledger.record("refused", long, "r" * 501)
    await ledger.record("refused", ATTEMPT._replace(client="c" * 100), "r" * 500)
    truncated, complete = await ledger.rows()
    assert len(truncated.arguments) <= 4_000
    assert json.loads(truncated.arguments)["cut"].startswith('{"labels": [')
    assert "cloud" not in json.loads(truncated.arguments)
    assert (len(truncated.client), len(truncated.reason), truncated.reason[-1]) == (100, 500, "…")
    assert (complete.client, complete.reason) == ("c" * 100, "r" * 500)
    assert await ledger.verify() == []


async def test_the_cloud_and_the_result_survive_truncation(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    ledger = ledger_kind.open(tmp_path)
    arguments = {"cloud": "embedded", "result_id": 2**63 - 1, "labels": ["x" * 50] * 5_000}
    await ledger.record("done", ATTEMPT._replace(arguments=arguments))
    (row,) = await ledger.rows()
    kept = json.loads(row.arguments)
    assert (kept["cloud"], kept["result_id"]) == ("embedded", 2**63 - 1)
    assert len(row.arguments) <= 4_000


async def test_rows_are_filtered_by_every_condition_and_limited_to_the_newest(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    times = iter(NOW + timedelta(minutes=number) for number in range(6))
    ledger = ledger_kind.open(tmp_path, lambda: next(times))
    for number, event in enumerate(get_args(Event)[:6]):
        tool = "delete_snapshot" if number % 2 else "restore_snapshot"
        await ledger.record(event, ATTEMPT._replace(id=f"plan-{number % 3}", tool=tool))
    assert [row.id for row in await ledger.rows()] == [1, 2, 3, 4, 5, 6]
    assert [row.id for row in await ledger.rows(limit=2)] == [5, 6]
    assert [row.id for row in await ledger.rows(tool="delete_snapshot")] == [2, 4, 6]
    assert [row.id for row in await ledger.rows(tool="delete_snapshot", limit=1)] == [6]
    assert [row.event for row in await ledger.rows(event="sent")] == ["sent"]
    assert [row.id for row in await ledger.rows(attempt="plan-1")] == [2, 5]
    zone = timezone(timedelta(hours=-5))
    since = (NOW + timedelta(minutes=4)).astimezone(zone)
    assert [row.id for row in await ledger.rows(since=since)] == [5, 6]
    assert await ledger.rows(tool="nothing", since=since) == []


async def test_the_rate_limit_of_the_operator_is_enforced(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    now = [NOW]
    ledger = ledger_kind.open(tmp_path, lambda: now[0])
    hourly = RateLimit(2, 3_600)

    async def send(name: str, tool: str = "delete_snapshot") -> None:
        await ledger.record("sent", ATTEMPT._replace(id=name, tool=tool), rate_limit=hourly)

    await send("one")
    now[0] += timedelta(minutes=30)
    await send("two")
    with pytest.raises(RefusedError, match="at most 2 of these in an hour, and that"):
        await send("three")
    with pytest.raises(RefusedError, match="already used"):
        await send("two")
    await send("another tool", "restore_snapshot")
    await ledger.record("planned", ATTEMPT._replace(id="three"), rate_limit=hourly)
    assert await ledger.sent_within("delete_snapshot", 3_600) == 2
    now[0] += timedelta(minutes=30)
    assert await ledger.sent_within("delete_snapshot", 3_600) == 1
    await send("three")
    assert [row.attempt for row in await ledger.rows(event="sent")] == [
        "one",
        "two",
        "another tool",
        "three",
    ]
    with pytest.raises(RefusedError, match="at most 0 of these in 90 seconds"):
        await ledger.record("sent", ATTEMPT._replace(id="four"), rate_limit=RateLimit(0, 90))
    assert await ledger.verify() == []


async def test_a_row_is_appended_once_if_the_store_repeats_the_transaction(tmp_path: Path) -> None:
    class RepeatingStore(SqliteStore):
        """Repeats each transaction, as a store does if a commit was not confirmed."""

        async def run(self, work: Callable[[], T]) -> T:
            await super().run(work)
            return await super().run(work)

    ledger = Ledger(RepeatingStore(tmp_path / "ledger.db"), lambda: NOW, SigningKey(None, tmp_path))
    await ledger.record("sent", ATTEMPT)
    await ledger.record("done", ATTEMPT)
    assert [row.event for row in await ledger.rows()] == ["sent", "done"]
    assert await ledger.verify() == []
