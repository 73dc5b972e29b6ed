"""The ledger's chain: alterations are named and unsettled attempts are found."""

import gc
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from snapshot_mcp.core.errors import LedgerError, RefusedError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import FIRST_PREVIOUS_HASH, Attempt, RateLimit, Row, link_row
from snapshot_mcp.ledger.formatting import format_json, format_text
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import MARK_FILE, Mark
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.signing_key import KEY_FILE, load_key
from tests.unit.ledger.ledger_kinds import (
    NOW,
    OPEN_LEDGER_PROGRAM,
    FileLedgers,
    LedgerKind,
    owner_files,
)
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process

ATTEMPT = Attempt("plan-1", "delete_snapshot", 1701, {"name": "a"}, "local", "form", "Claude")
ROWS = 4
TEXTS = [name for name in Row._fields if name not in ("id", "target")]
PROGRAM = (
    OPEN_LEDGER_PROGRAM
    + """
import anyio
from snapshot_mcp.ledger.chain import Attempt, RateLimit
from snapshot_mcp.core.errors import RefusedError

async def main(ledger):
    {body}

print("ready", flush=True)
sys.stdin.readline()
with open_ledger() as backend:
    anyio.run(main, backend.ledger)
"""
)
SEND_AND_HANG = """
    await ledger.record("sent", Attempt(sys.argv[3], "delete_snapshot", 1, {}, "local", "form"))
    print("sent", flush=True)
    sys.stdin.readline()
"""
SEND_TEN = """
    for number in range(10):
        attempt = Attempt(f"{sys.argv[3]}-{number}", "delete_snapshot", 1, {}, "local", "form")
        try:
            await ledger.record("sent", attempt, rate_limit=RateLimit(7, 3600))
        except RefusedError as error:
            assert "at most 7 of these in an hour" in str(error)
        else:
            print("sent")
"""
WRITE_WITHOUT_END = """
    for number in range(10**6):
        await ledger.record("sent", Attempt(str(number), "delete_snapshot", 1, {}, "local", "form"))
        print("sent", flush=True)
"""


def sqlite_ledger(folder: Path) -> Ledger:
    return open_sqlite_ledger(folder / "ledger.db", lambda: NOW)


async def fill(folder: Path) -> None:
    ledger = sqlite_ledger(folder)
    await ledger.record("planned", ATTEMPT)
    await ledger.record("sent", ATTEMPT)
    await ledger.record("failed", ATTEMPT, "Conflict")
    await ledger.record("refused", ATTEMPT._replace(id="plan-2"), "größe")
    ledger.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact ledger of four rows; tests alter copies of it."""
    folder = tmp_path_factory.mktemp("filled")
    anyio.run(fill, folder)
    assert [file.name for file in folder.glob("ledger.db*")] == ["ledger.db"]
    return folder / "ledger.db"


@contextmanager
def open_for_tampering(file: Path) -> Generator[sqlite3.Connection]:
    """Open a ledger without its triggers, and restore them afterwards."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        triggers = connection.execute(query).fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.execute(sql)


def verify_altered(
    filled: Path, folder: Path, change: Callable[[sqlite3.Connection], object]
) -> list[str]:
    copy = folder / "ledger.db"
    shutil.copy(filled, copy)
    for name in (MARK_FILE, KEY_FILE):
        shutil.copy(filled.with_name(name), folder)
    with open_for_tampering(copy) as connection:
        change(connection)
    return anyio.run(sqlite_ledger(folder).verify)


def describe(number: int, column: str) -> str:
    """Return the start of the sentence about an altered column."""
    if column == "mac":
        return f"Row {number}: its MAC does not fit"
    return f"Row {number}: it was altered; its fields do not match its hash."


@contextmanager
def started_processes(
    body: str, words: tuple[str, str], *names: str
) -> Generator[list[subprocess.Popen[str]]]:
    """Start processes that wait for a line, and kill them afterwards."""
    command = [sys.executable, "-c", PROGRAM.replace("{body}", body.strip()), *words]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(start_process([*command, name], **pipes)) for name in names
        ]
        for process in processes:
            assert read_line(process.stdout) == "ready\n"
        for process in processes:
            send_line(process)
        yield processes


def send_line(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def wait_for_unsettled_rows(ledger: Ledger) -> list[Row]:
    """Wait until a process is known to be dead, and return the unsettled rows."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while not (rows := anyio.run(ledger.unsettled)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return rows


# Verification.


@given(st.data())
def test_an_altered_character_in_any_column_of_any_row_is_found(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, ROWS))
    column = data.draw(st.sampled_from(TEXTS))
    character = data.draw(st.characters(exclude_categories=["Cs"]))

    def change(connection: sqlite3.Connection) -> None:
        query = f"SELECT {column} FROM attempts WHERE id = ?"  # noqa: S608 - our own column
        (text,) = connection.execute(query, (number,)).fetchone()
        place = data.draw(st.integers(0, len(text)))
        added = data.draw(st.booleans()) or place == len(text)
        rest = text[place:] if added else text[place + 1 :]
        altered = text[:place] + character + rest
        if altered == text:
            altered = text + "x"
        if column == "event" and altered == "sent":
            altered = "seNt"
        statement = f"UPDATE attempts SET {column} = ? WHERE id = ?"  # noqa: S608 - as above
        connection.execute(statement, (altered, number))

    sentences = verify_altered(filled, tmp_path_factory.mktemp("altered"), change)
    assert any(sentence.startswith(describe(number, column)) for sentence in sentences)


@given(
    number=st.integers(1, ROWS),
    column=st.sampled_from([*TEXTS, "target"]),
    raw=st.binary(max_size=3),
    kind=st.sampled_from(["TEXT", "BLOB"]),
)
def test_bytes_that_are_not_valid_text_are_found(
    filled: Path,
    tmp_path_factory: pytest.TempPathFactory,
    number: int,
    column: str,
    raw: bytes,
    kind: str,
) -> None:
    statement = (
        f"UPDATE attempts SET {column} ="  # noqa: S608 - our own columns
        f" CAST(CAST({column} AS BLOB) || x'ff{raw.hex()}' AS {kind}) WHERE id = {number}"
    )
    folder = tmp_path_factory.mktemp("bytes")
    sentences = verify_altered(filled, folder, lambda connection: connection.execute(statement))
    assert any(sentence.startswith(describe(number, column)) for sentence in sentences)
    rows = anyio.run(sqlite_ledger(folder).rows)
    assert format_json(rows).isascii()
    assert len(format_text(rows).splitlines()) == ROWS


@given(number=st.integers(1, ROWS), column=st.sampled_from(TEXTS))
@hypothesis_settings(max_examples=30)
def test_text_stored_as_bytes_is_found(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, number: int, column: str
) -> None:
    statement = f"UPDATE attempts SET {column} = CAST({column} AS BLOB) WHERE id = {number}"  # noqa: S608 - our own columns
    sentences = verify_altered(
        filled, tmp_path_factory.mktemp("kind"), lambda connection: connection.execute(statement)
    )
    assert any(sentence.startswith(describe(number, column)) for sentence in sentences)


@given(number=st.integers(1, ROWS), target=st.integers(-(2**63), 2**63 - 1) | st.floats())
@hypothesis_settings(max_examples=30)
def test_an_altered_target_is_found(
    filled: Path,
    tmp_path_factory: pytest.TempPathFactory,
    number: int,
    target: float,
) -> None:
    target = 0 if target in (1701, None) or target != target else target  # noqa: PLR0124 - NaN is NULL
    statement = "UPDATE attempts SET target = ? WHERE id = ?"
    folder = tmp_path_factory.mktemp("target")
    sentences = verify_altered(
        filled, folder, lambda connection: connection.execute(statement, (target, number))
    )
    assert f"Row {number}: it was altered; its fields do not match its hash." in sentences


@pytest.mark.parametrize("number", range(1, ROWS + 1))
def test_a_removed_row_is_found_at_any_position(filled: Path, tmp_path: Path, number: int) -> None:
    statement = f"DELETE FROM attempts WHERE id = {number}"  # noqa: S608 - a number
    sentences = verify_altered(filled, tmp_path, lambda connection: connection.execute(statement))
    assert any(f"ow {number}" in sentence for sentence in sentences)


@pytest.mark.parametrize("kept", range(ROWS))
def test_removed_last_rows_are_found_also_after_new_rows(
    filled: Path, tmp_path: Path, kept: int
) -> None:
    statement = f"DELETE FROM attempts WHERE id > {kept}"  # noqa: S608 - a number
    sentences = verify_altered(filled, tmp_path, lambda connection: connection.execute(statement))
    lost = "Row 4: the mark of the ledger shows that it was written"
    assert sentences[0].startswith(lost)
    assert sentences[1:] == [f"Row 4: the last row is missing; the last row is now {kept}."]
    anyio.run(sqlite_ledger(tmp_path).record, "refused", ATTEMPT)
    after = anyio.run(sqlite_ledger(tmp_path).verify)
    gap = f"Row 5: row {kept + 1} is expected here; rows were removed or renumbered."
    assert after[0] == gap
    assert after[1].startswith(lost)


@given(st.permutations(range(1, ROWS + 1)))
@hypothesis_settings(max_examples=30)
def test_reordered_rows_are_found(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    def change(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE attempts SET id = id + 100")
        for number, place in enumerate(order, 1):
            connection.execute("UPDATE attempts SET id = ? WHERE id = ?", (place, number + 100))

    sentences = verify_altered(filled, tmp_path_factory.mktemp("order"), change)
    moved = {place for number, place in enumerate(order, 1) if number != place}
    assert {
        int(sentence.split()[1][:-1]) for sentence in sentences if "was altered;" in sentence
    } == moved
    assert bool(sentences) == bool(moved)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE sqlite_sequence SET seq = 9", "Row 9: the last row is missing"),
        ("UPDATE sqlite_sequence SET seq = 3", "the database's row counter was altered"),
        ("UPDATE sqlite_sequence SET seq = 'x'", "the database's row counter was altered"),
        ("DELETE FROM sqlite_sequence", "the database's row counter was altered"),
        ("DROP INDEX one_sent_row_an_attempt", "The index one_sent_row_an_attempt is missing"),
        ("CREATE TABLE more (x)", "1 tables, indexes or triggers do not belong to the ledger."),
        ("DROP TABLE attempts", "The table attempts is missing"),
        ("ALTER TABLE attempts RENAME reason TO why", "The table attempts is missing"),
        ("PRAGMA user_version = 1", "The ledger has the format of an older version"),
    ],
)
def test_altered_tables_indexes_and_counters_are_found(
    filled: Path, tmp_path: Path, statement: str, sentence: str
) -> None:
    copy = tmp_path / "ledger.db"
    shutil.copy(filled, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute(statement)
    assert sentence in " ".join(anyio.run(sqlite_ledger(tmp_path).verify))


@pytest.mark.parametrize("name", ["attempts_are_not_updated", "attempts_are_not_deleted"])
@pytest.mark.parametrize(
    "instead", ["", "CREATE TRIGGER {} AFTER INSERT ON attempts BEGIN SELECT 1; END"]
)
async def test_a_missing_or_altered_trigger_is_found(
    tmp_path: Path, name: str, instead: str
) -> None:
    await fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute(f"DROP TRIGGER {name}")
        connection.execute(instead.format(name) or "SELECT 1")
    assert await sqlite_ledger(tmp_path).verify() == [
        f"The trigger {name} is missing or was altered."
    ]


async def test_a_damaged_index_is_found(tmp_path: Path) -> None:
    await fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'attempts_by_attempt'"
        (page,) = connection.execute(query).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    raw = (tmp_path / "ledger.db").read_bytes()
    begin, end = (page - 1) * size, page * size
    index = raw[begin:end].replace(b"plan-1", b"plan-0")
    (tmp_path / "ledger.db").write_bytes(raw[:begin] + index + raw[end:])
    assert "The database file is damaged." in await sqlite_ledger(tmp_path).verify()


async def test_verifying_writes_nothing_and_a_missing_file_is_an_empty_ledger(
    tmp_path: Path,
) -> None:
    ledger = sqlite_ledger(tmp_path / "no # folder?")
    assert await ledger.verify() == []
    assert not (tmp_path / "no # folder?").exists()
    (tmp_path / "ledger.db").touch()
    assert await sqlite_ledger(tmp_path).verify() == []
    assert (tmp_path / "ledger.db").read_bytes() == b""
    await fill(tmp_path / "no # folder?")
    before = (tmp_path / "no # folder?" / "ledger.db").read_bytes()
    assert await ledger.verify() == []
    assert (tmp_path / "no # folder?" / "ledger.db").read_bytes() == before
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(LedgerError):
        await sqlite_ledger(tmp_path).verify()


async def test_ten_thousand_rows_are_verified(tmp_path: Path) -> None:
    await fill(tmp_path)
    *_, last = await sqlite_ledger(tmp_path).rows()
    macs = LedgerMacs(load_key(tmp_path))
    insert = f"INSERT INTO attempts VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608 - question marks
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for number in range(ROWS + 1, 10_001):
            row = last._replace(attempt=f"plan-{number}", arguments=json.dumps({"name": "x" * 300}))
            last = macs.sign_row(link_row(row, number, last.hash))
            connection.execute(insert, last)
        connection.commit()
    with closing(sqlite3.connect(tmp_path / MARK_FILE)) as connection, connection:
        mark = macs.sign_mark(Mark(last.id, last.hash))
        connection.execute("UPDATE mark SET row = ?, hash = ?, mac = ?", (*mark[:2], mark.mac))
    begin = time.perf_counter()
    assert await sqlite_ledger(tmp_path).verify() == []
    print(f"10,000 rows verified in {time.perf_counter() - begin:.2f} s")  # noqa: T201 - with -s
    with open_for_tampering(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE attempts SET reason = 'x' WHERE id = 7777")
    assert await sqlite_ledger(tmp_path).verify() == [
        "Row 7777: it was altered; its fields do not match its hash."
    ]


# Several processes.


def test_the_rate_limit_holds_across_processes(tmp_path: Path, ledger_kind: LedgerKind) -> None:
    with started_processes(
        SEND_TEN, ledger_kind.program_arguments(tmp_path), "a", "b"
    ) as processes:
        answers = [process.communicate(timeout=ANSWER_TIMEOUT_SECONDS) for process in processes]
    assert [errors for _, errors in answers] == ["", ""]
    assert sum(output.count("sent") for output, _ in answers) == 7
    rows = anyio.run(ledger_kind.open(tmp_path).rows)
    assert [row.event for row in rows] == ["sent"] * 7
    assert anyio.run(ledger_kind.open(tmp_path).verify) == []
    assert ledger_kind.owners(tmp_path) == []


def test_attempts_of_a_killed_process_are_unsettled_and_those_of_a_live_one_are_not(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    ledger = ledger_kind.open(tmp_path)
    with started_processes(
        SEND_AND_HANG, ledger_kind.program_arguments(tmp_path), "killed", "alive"
    ) as (
        killed,
        alive,
    ):
        assert [read_line(killed.stdout), read_line(alive.stdout)] == ["sent\n"] * 2
        anyio.run(ledger.record, "sent", ATTEMPT)
        assert anyio.run(ledger.unsettled) == []
        assert len(ledger_kind.owners(tmp_path)) == 3
        killed.kill()
        killed.wait(timeout=ANSWER_TIMEOUT_SECONDS)
        (row,) = wait_for_unsettled_rows(ledger)
        assert (row.event, row.attempt) == ("sent", "killed")
        assert (row.owner in ledger_kind.owners(tmp_path)) == isinstance(ledger_kind, FileLedgers)
        settled = ATTEMPT._replace(id="killed")
        anyio.run(ledger.record, "unknown", settled, "its server ended")
        assert anyio.run(ledger.unsettled) == []
        assert row.owner not in ledger_kind.owners(tmp_path)
        assert len(ledger_kind.owners(tmp_path)) == 2
        send_line(alive)
        assert alive.wait(timeout=ANSWER_TIMEOUT_SECONDS) == 0
    assert [row.attempt for row in wait_for_unsettled_rows(ledger)] == ["alive"]
    ledger.close()
    left = wait_for_unsettled_rows(ledger_kind.open(tmp_path))
    assert sorted(row.attempt for row in left) == ["alive", "plan-1"]
    assert ledger_kind.owners(tmp_path) == []


def test_a_process_killed_while_it_writes_leaves_an_intact_chain(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    with started_processes(WRITE_WITHOUT_END, ledger_kind.program_arguments(tmp_path), "") as (
        process,
    ):
        for _ in range(20):
            assert read_line(process.stdout) == "sent\n"
        process.kill()
        process.wait(timeout=ANSWER_TIMEOUT_SECONDS)
    ledger = ledger_kind.open(tmp_path)
    assert anyio.run(ledger.verify) == []
    rows = anyio.run(ledger.rows)
    assert len(rows) >= 20
    assert wait_for_unsettled_rows(ledger) == rows
    anyio.run(ledger.record, "planned", ATTEMPT)
    assert anyio.run(ledger.verify) == []


# The process lock.


async def test_a_ledger_that_sends_nothing_creates_no_owner_file(tmp_path: Path) -> None:
    ledger = sqlite_ledger(tmp_path)
    await ledger.record("planned", ATTEMPT)
    with pytest.raises(RefusedError):
        await ledger.record("sent", ATTEMPT, rate_limit=RateLimit(0, 60))
    assert await ledger.unsettled() == []
    ledger.close()
    assert not (tmp_path / "owners").exists()


async def test_a_closed_ledger_can_be_closed_again_and_sends_with_a_new_owner_id(
    tmp_path: Path,
) -> None:
    ledger = sqlite_ledger(tmp_path)
    await ledger.record("sent", ATTEMPT)
    await ledger.record("done", ATTEMPT)
    ledger.close()
    ledger.close()
    assert owner_files(tmp_path) == []
    await ledger.record("sent", ATTEMPT._replace(id="plan-2"))
    first, second = await ledger.rows(event="sent")
    assert owner_files(tmp_path) == [second.owner]
    assert first.owner != second.owner
    assert await sqlite_ledger(tmp_path).unsettled() == []
    ledger.close()


async def test_a_garbage_collected_ledger_releases_its_process_lock(tmp_path: Path) -> None:
    ledger = sqlite_ledger(tmp_path)
    await ledger.record("sent", ATTEMPT)
    assert await sqlite_ledger(tmp_path).unsettled() == []
    del ledger
    gc.collect()
    assert [row.attempt for row in await sqlite_ledger(tmp_path).unsettled()] == ["plan-1"]


async def test_concurrent_tasks_share_one_process_lock(tmp_path: Path) -> None:
    ledger = sqlite_ledger(tmp_path)
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(ledger.record, "sent", ATTEMPT._replace(id=f"plan-{number}"))
    assert {row.owner for row in await ledger.rows()} == set(owner_files(tmp_path))
    assert len(owner_files(tmp_path)) == 1
    assert await ledger.verify() == []
    ledger.close()


async def test_nothing_is_sent_without_a_process_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owners").write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match="Nothing was changed"):
        await sqlite_ledger(tmp_path).record("sent", ATTEMPT)
    assert await sqlite_ledger(tmp_path).rows() == []
    (tmp_path / "owners").unlink()
    monkeypatch.setattr("snapshot_mcp.ledger.process_lock.secrets.token_hex", "ab".__mul__)
    ledger = sqlite_ledger(tmp_path)
    (tmp_path / "owners" / f"{'ab' * 8}.db").mkdir(parents=True)
    with pytest.raises(LedgerError, match="Nothing was changed"):
        await ledger.record("sent", ATTEMPT)
    assert await ledger.rows() == []
    (tmp_path / "owners" / f"{'ab' * 8}.db").rmdir()
    (tmp_path / "owners" / f"{'ab' * 8}.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(LedgerError, match="Nothing was changed"):
        await ledger.record("sent", ATTEMPT)
    assert await ledger.rows() == []


async def test_an_unreadable_owner_file_is_reported(tmp_path: Path) -> None:
    ledger = sqlite_ledger(tmp_path)
    await ledger.record("sent", ATTEMPT)
    (name,) = owner_files(tmp_path)
    ledger.close()
    (tmp_path / "owners" / f"{name}.db").mkdir()
    with pytest.raises(LedgerError):
        await ledger.unsettled()


async def test_an_invalid_owner_id_opens_no_file(filled: Path, tmp_path: Path) -> None:
    shutil.copy(filled, tmp_path / "ledger.db")
    (tmp_path / "owners").mkdir()
    with open_for_tampering(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM attempts WHERE id > 2")
        connection.execute("UPDATE attempts SET owner = '../ledger'")
    assert [row.id for row in await sqlite_ledger(tmp_path).unsettled()] == [2]
    assert (tmp_path / "ledger.db").exists()


# Version 1.

VERSION_1 = """
CREATE TABLE attempts (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, event TEXT NOT NULL,
    attempt TEXT NOT NULL, tool TEXT NOT NULL, target INTEGER NOT NULL, arguments TEXT NOT NULL,
    principal TEXT NOT NULL, evidence TEXT NOT NULL, reason TEXT NOT NULL);
CREATE UNIQUE INDEX one_sent_row_an_attempt ON attempts (attempt) WHERE event = 'sent';
CREATE TRIGGER attempts_are_not_updated BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER attempts_are_not_deleted BEFORE DELETE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
INSERT INTO attempts VALUES (1, '2026-11-20T12:00:00.000+00:00', 'sent', 'p1', 'delete_snapshot', 7,
    '{"a": 1}', 'local', 'arguments', '');
INSERT INTO attempts VALUES (2, '2026-11-20T12:00:01.000+00:00', 'done', 'p1', 'delete_snapshot', 7,
    '{"a": 1}', 'local', 'arguments', 'why');
INSERT INTO attempts VALUES (5, '2026-11-20T12:00:02.000+00:00', 'sent', 'p2', 'create_snapshot', 8,
    '{}', 'local', 'none', '');
PRAGMA user_version = 1;
"""


def write_version_1(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.executescript(VERSION_1)


async def test_a_ledger_of_version_1_is_migrated_into_the_chain(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    (sentence,) = await sqlite_ledger(tmp_path).verify()
    assert "the format of an older version" in sentence
    rows = await sqlite_ledger(tmp_path).rows()
    assert [(row.id, row.event, row.attempt, row.target) for row in rows] == [
        (1, "sent", "p1", 7),
        (2, "done", "p1", 7),
        (3, "sent", "p2", 8),
    ]
    assert [(row.arguments, row.client, row.owner, row.reason) for row in rows[:2]] == [
        ('{"a": 1}', "", "", ""),
        ('{"a": 1}', "", "", "why"),
    ]
    assert rows[0].previous == FIRST_PREVIOUS_HASH
    assert await sqlite_ledger(tmp_path).verify() == []
    assert await sqlite_ledger(tmp_path).unsettled() == rows[2:]
    with pytest.raises(RefusedError, match="already used"):
        await sqlite_ledger(tmp_path).record("sent", ATTEMPT._replace(id="p1"))
    await sqlite_ledger(tmp_path).record("planned", ATTEMPT)
    assert await sqlite_ledger(tmp_path).verify() == []


def test_concurrent_processes_migrate_version_1_once(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    with started_processes(SEND_AND_HANG, (str(tmp_path), ""), "a", "b", "c") as processes:
        assert [read_line(process.stdout) for process in processes] == ["sent\n"] * 3
    rows = anyio.run(sqlite_ledger(tmp_path).rows)
    assert [row.attempt for row in rows[:3]] == ["p1", "p1", "p2"]
    assert sorted(row.attempt for row in rows[3:]) == ["a", "b", "c"]
    assert anyio.run(sqlite_ledger(tmp_path).verify) == []


async def test_a_failed_migration_does_not_change_the_old_ledger(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("CREATE TABLE sent_by_tool_and_time (x)")
    with pytest.raises(LedgerError):
        await sqlite_ledger(tmp_path).rows()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT id FROM attempts").fetchall() == [(1,), (2,), (5,)]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


async def test_a_chain_with_a_lowered_version_number_is_not_rebuilt(tmp_path: Path) -> None:
    await fill(tmp_path)
    before = await sqlite_ledger(tmp_path).rows()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 0")
    assert await sqlite_ledger(tmp_path).rows() == before
    assert await sqlite_ledger(tmp_path).verify() == []


# Formatting.

PLAIN = Row(
    1,
    "2026-11-20T12:00:00.123+00:00",
    "sent",
    "plan-1",
    "delete_snapshot",
    1701,
    '{"name": "a b"}',
    "local",
    "Claude Desktop",
    "form",
    "",
    "00ff",
    FIRST_PREVIOUS_HASH,
    "f" * 64,
)
hostile = st.text() | st.text(
    st.sampled_from(
        '\x1b[31m\n\r\t\x00\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200b\ufeff"\\ a{}-\ud800'
    )
)


def test_a_row_is_formatted_as_one_line_of_text() -> None:
    assert format_text([PLAIN, PLAIN._replace(event="done", client="", reason="too late")]) == (
        "2026-11-20T12:00:00.123+00:00  sent     delete_snapshot   1701  form  plan-1"
        '  local/"Claude Desktop"  -  {"name": "a b"}\n'
        "2026-11-20T12:00:00.123+00:00  done     delete_snapshot   1701  form  plan-1"
        '  local  "too late"  {"name": "a b"}'
    )
    assert format_text([]) == format_json([]) == ""


@given(st.lists(st.lists(hostile, min_size=len(TEXTS), max_size=len(TEXTS)), max_size=3))
def test_untrusted_text_cannot_control_the_terminal_or_begin_a_line(texts: list[list[str]]) -> None:
    rows = [PLAIN._replace(**dict(zip(TEXTS, row, strict=True))) for row in texts]
    for shown in (format_text(rows), format_json(rows)):
        assert len(shown.splitlines()) == len(rows)
        assert all(line.isprintable() for line in shown.split("\n"))
    assert [Row(**json.loads(line)) for line in format_json(rows).splitlines()] == rows


@given(hostile)
def test_untrusted_text_cannot_imitate_another_column(text: str) -> None:
    # Every column but the last is one word, or is enclosed in quotation marks.
    line = format_text([PLAIN._replace(client=text or "x", reason=text)])
    _, _, rest = line.partition("  plan-1  local/")
    for _ in ("client", "reason"):
        if rest.startswith('"'):
            _, end = json.JSONDecoder(strict=False).raw_decode(rest)
        else:
            end = len(rest.split("  ")[0])
        rest = rest[end:].removeprefix("  ")
    assert rest == '{"name": "a b"}'
