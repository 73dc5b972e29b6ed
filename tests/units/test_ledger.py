"""The ledger: every attempt written first, once, in order, and never changed afterwards."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from snapshot_mcp.errors import LedgerError, RefusedError
from snapshot_mcp.ledger import Argument, Attempt, Event, Ledger

NOW = datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)
ATTEMPT = Attempt("plan-1", "delete_snapshot", 1701, {}, "local", "arguments")

SEND_FIVE_AT_ONCE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
import anyio
from snapshot_mcp.errors import RefusedError
from snapshot_mcp.ledger import Attempt, Ledger

async def main():
    for number in range(5):
        ledger = Ledger(Path(sys.argv[1]), lambda: datetime.now(UTC))
        attempt = Attempt(f"plan-{number}", "delete_snapshot", 1, {}, "local", "arguments")
        try:
            await ledger.record("sent", attempt)
        except RefusedError:
            print("refused")
        else:
            print(f"sent {number}")

print("ready", flush=True)
sys.stdin.readline()
anyio.run(main)
"""


def ledger_in(folder: Path) -> Ledger:
    return Ledger(folder / "ledger.db", lambda: NOW)


async def test_a_row_holds_what_was_asked_for_and_when(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path / "not" / "yet")
    attempt = ATTEMPT._replace(arguments={"name": "größe", "labels": ["a"], "wait": 3, "ok": True})
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
    assert (failed.event, failed.reason) == ("failed", "Conflict")


async def test_rows_come_back_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    times = iter([NOW, NOW - timedelta(days=1), NOW + timedelta(days=1), NOW])
    ledger = Ledger(tmp_path / "ledger.db", lambda: next(times))
    for number in (3, 1, 2, 0):
        await ledger.record("sent", ATTEMPT._replace(id=f"plan-{number}", target=number))
    assert [row.target for row in await ledger.rows()] == [3, 1, 2, 0]
    assert [row.target for row in await ledger_in(tmp_path).rows()] == [3, 1, 2, 0]


events = st.tuples(
    st.sampled_from(["sent", "done", "failed", "unknown"]),
    st.sampled_from(["plan-1", "plan-2", "plan-3"]),
)
arguments = st.dictionaries(
    st.text(max_size=5),
    st.text(max_size=10) | st.integers() | st.booleans() | st.lists(st.text(max_size=5)),
    max_size=3,
)


@given(st.lists(st.tuples(events, arguments), max_size=6))
@hypothesis_settings(max_examples=15, deadline=None)
def test_an_attempt_is_sent_at_most_once_whatever_happens_around_it(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[tuple[Event, str], dict[str, Argument]]],
) -> None:
    folder = tmp_path_factory.mktemp("ledger")

    async def play() -> None:
        ledger, expected, sent = ledger_in(folder), list[tuple[str, str, object]](), set[str]()
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
        assert [(it.event, it.attempt, json.loads(it.arguments)) for it in rows] == expected

    anyio.run(play)


async def test_a_second_sending_of_a_plan_is_refused_and_leaves_no_row(tmp_path: Path) -> None:
    await ledger_in(tmp_path).record("sent", ATTEMPT)
    with pytest.raises(RefusedError, match="already used"):
        await ledger_in(tmp_path).record("sent", ATTEMPT._replace(target=9, tool="other"))
    assert len(await ledger_in(tmp_path).rows()) == 1


async def test_tasks_that_send_one_plan_at_once_get_one_leave(tmp_path: Path) -> None:
    outcomes: list[str] = []

    async def send() -> None:
        try:
            await ledger_in(tmp_path).record("sent", ATTEMPT)
        except RefusedError:
            outcomes.append("refused")
        else:
            outcomes.append("sent")

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(send)
    assert sorted(outcomes) == ["refused"] * 5 + ["sent"]


def test_processes_that_send_one_plan_at_once_get_one_leave_each_plan(tmp_path: Path) -> None:
    file = tmp_path / "data" / "ledger.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SEND_FIVE_AT_ONCE, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in answers] == [""] * 3
    lines = [line for output, _ in answers for line in output.splitlines()]
    assert sorted(line for line in lines if line != "refused") == [f"sent {n}" for n in range(5)]
    assert lines.count("refused") == 10


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE attempts SET event = 'done'",
        "UPDATE attempts SET reason = '' WHERE id = 1",
        "DELETE FROM attempts",
        "DELETE FROM attempts WHERE id = 1",
    ],
)
async def test_the_database_itself_refuses_to_change_or_forget_a_row(
    tmp_path: Path, statement: str
) -> None:
    ledger = ledger_in(tmp_path)
    await ledger.record("sent", ATTEMPT, "as it was")
    before = await ledger.rows()
    with (
        closing(sqlite3.connect(tmp_path / "ledger.db")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    assert await ledger.rows() == before


async def test_a_folder_that_cannot_be_made_means_that_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ledger = ledger_in(tmp_path / "file")
    for call in (
        lambda: ledger.record("sent", ATTEMPT),
        lambda: ledger.was_sent("plan-1"),
        ledger.rows,
    ):
        with pytest.raises(LedgerError, match="nothing was sent"):
            await call()


async def test_a_file_that_is_no_ledger_is_told_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"not a database, but somebody's file" * 100)
    before = file.read_bytes()
    with pytest.raises(LedgerError):
        await ledger_in(tmp_path).record("sent", ATTEMPT)
    assert file.read_bytes() == before
    (tmp_path / "folder").mkdir()
    with pytest.raises(LedgerError):
        await Ledger(tmp_path / "folder", lambda: NOW).rows()


async def test_a_ledger_of_a_newer_version_is_not_written_to(tmp_path: Path) -> None:
    await ledger_in(tmp_path).record("sent", ATTEMPT)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 2")
    for call in (lambda: ledger_in(tmp_path).record("done", ATTEMPT), ledger_in(tmp_path).rows):
        with pytest.raises(LedgerError):
            await call()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (1,)


async def test_a_ledger_that_stays_locked_means_that_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ledger_in(tmp_path)
    await ledger.record("sent", ATTEMPT)
    monkeypatch.setattr("snapshot_mcp.ledger._SECONDS_TO_WAIT_FOR_A_LOCK", 0.05)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="OperationalError"):
            await ledger.record("done", ATTEMPT)
        assert await ledger.was_sent("plan-1")
    assert len(await ledger.rows()) == 1


async def test_a_first_use_waits_for_another_process_that_is_at_its_own_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Source: SQLite answers "locked" at once, and does not wait, when journal_mode is to become WAL
    # while another connection has begun to write.
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    class Connection(sqlite3.Connection):
        """Lets the other process finish after the journal mode was tried, or before a write."""

        tried = False

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - whatever SQL takes
            if self.tried or sql.startswith("INSERT"):
                other.close()
            self.tried = self.tried or "journal_mode =" in sql
            return super().execute(sql, *parameters)

        def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
            other.close()
            return super().executescript(sql_script)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    with closing(other):
        await ledger_in(tmp_path).record("sent", ATTEMPT)
    assert await ledger_in(tmp_path).was_sent("plan-1")


async def test_an_empty_ledger_knows_of_nothing(tmp_path: Path) -> None:
    assert await ledger_in(tmp_path).rows() == []
    assert not await ledger_in(tmp_path).was_sent("plan-1")
