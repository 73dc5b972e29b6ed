"""The ledger in one SQLite file, shared by all server processes that use the same data folder.

A unique index lets the database itself refuse a second "sent" row for an attempt, from any process.
"""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio import to_thread

from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import FIRST_PREVIOUS_HASH, Event, Row, SentAttempt
from snapshot_mcp.ledger.process_lock import ProcessLock
from snapshot_mcp.ledger.sqlite_schema import (
    COLUMNS,
    INSERT,
    ensure_schema,
    find_schema_problems,
    has_chain,
)
from snapshot_mcp.ledger.store import ChainSnapshot, RowFilter

T = TypeVar("T")

OWNERS_FOLDER = "owners"

_LOCK_TIMEOUT_SECONDS = 5.0
_ALL = f"SELECT {COLUMNS} FROM attempts ORDER BY id"  # noqa: S608 - our own column names
_MATCHING = f"""SELECT {COLUMNS} FROM attempts WHERE (:tool = '' OR tool = :tool)
    AND (:event = '' OR event = :event) AND (:attempt = '' OR attempt = :attempt)
    AND at >= :since ORDER BY id DESC LIMIT coalesce(:limit, -1)"""  # noqa: S608 - as above
_UNENDED = f"""SELECT {COLUMNS} FROM attempts AS sent WHERE event = 'sent' AND NOT EXISTS (
    SELECT 1 FROM attempts WHERE attempt = sent.attempt AND id > sent.id
    AND event IN ('done', 'failed', 'unknown')) ORDER BY id"""  # noqa: S608 - as above
_LAST_COLUMNS = ", ".join(f"latest.{column}" for column in COLUMNS.split(", "))
_SENT = f"""SELECT sent.at, {_LAST_COLUMNS} FROM attempts AS sent JOIN attempts AS latest
    ON latest.id = (SELECT max(id) FROM attempts WHERE attempt = sent.attempt
        AND event IN ('sent', 'done', 'failed', 'unknown'))
    WHERE sent.event = 'sent' AND sent.tool = :tool AND sent.at >= :since ORDER BY sent.id"""  # noqa: S608 - as above
_SENT_AFTER = f"""SELECT sent.at, {_LAST_COLUMNS} FROM attempts AS latest JOIN attempts AS sent
    ON sent.attempt = latest.attempt AND sent.event = 'sent'
    WHERE latest.id > :after AND latest.tool = :tool AND sent.at >= :since
    AND latest.event IN ('sent', 'done', 'failed', 'unknown') ORDER BY latest.id"""  # noqa: S608 - as above
_HAS_ENDED = """SELECT 1 FROM attempts WHERE attempt = ? AND id > ?
    AND event IN ('done', 'failed', 'unknown')"""
_OWNERS = "SELECT DISTINCT owner FROM attempts WHERE event = 'sent'"
_HAS_EVENT = "SELECT 1 FROM attempts WHERE attempt = ? AND event = ?"
_COUNT_SENT = "SELECT count(*) FROM attempts WHERE event = 'sent' AND tool = ? AND at > ?"
_COUNTER = (
    "SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = 'attempts'"
)
_LAST = "SELECT id, hash FROM attempts ORDER BY id DESC LIMIT 1"


def open_sqlite_ledger(path: Path, now: Callable[[], datetime]) -> Ledger:
    """Return the ledger in a file. The file and its folder are created at the first use.

    Args:
        path: the database file.
        now: returns the current time, for the rows.
    """
    return Ledger(SqliteStore(path), now)


class SqliteStore:
    """A `LedgerStore` in one file.

    Args:
        path: the database file.
    """

    reconnect_grace_seconds = 0.0  # a file lock is never lost while its process lives

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = ProcessLock(path.parent / OWNERS_FOLDER)

    def close(self) -> None:
        """Declare that this process sends nothing more."""
        self._lock.release()

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread, as described in `LedgerStore.run`."""
        return await to_thread.run_sync(partial(_run_and_translate_errors, work))

    @contextmanager
    def read(self) -> Generator["_Transaction"]:
        """Open a transaction that only reads."""
        with self._connection() as connection:
            connection.text_factory = _decode_any_text
            yield _Transaction(connection, self._lock, sends=False)

    @contextmanager
    def write(self, *, sends: bool) -> Generator["_Transaction"]:
        """Open a transaction that appends, as described in `LedgerStore.write`."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield _Transaction(connection, self._lock, sends=sends)

    @contextmanager
    def snapshot(self) -> Generator[ChainSnapshot]:
        """Open the chain for verification; neither the file nor its folder is created."""
        if not self._path.exists():
            yield ChainSnapshot([])
            return
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        with closing(_connect(address, uri=True)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.text_factory = _decode_any_text
            connection.execute("BEGIN")  # read one state, even if others write meanwhile
            problems = find_schema_problems(connection)
            if not has_chain(connection, problems):
                yield ChainSnapshot(problems)
                return
            if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                problems.append("The database file is damaged.")
            (counter,) = connection.execute(_COUNTER).fetchone()
            rows = (Row(*row) for row in connection.execute(_ALL))
            yield ChainSnapshot(problems, rows, counter)

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(_connect(self._path)) as connection:
            with suppress(sqlite3.OperationalError):
                # Another process is creating the ledger, and sets the same mode.
                connection.execute("PRAGMA journal_mode = WAL")
            # A row must be on the disk before its request is sent.
            connection.execute("PRAGMA synchronous = FULL")
            ensure_schema(connection)
            yield connection


class _Transaction:
    """A `LedgerTransaction` on one connection."""

    def __init__(self, connection: sqlite3.Connection, lock: ProcessLock, *, sends: bool) -> None:
        self._connection = connection
        self._lock = lock
        self._sends = sends

    def has_event(self, attempt_id: str, event: Event) -> bool:
        return self._connection.execute(_HAS_EVENT, (attempt_id, event)).fetchone() is not None

    def count_sent(self, tool: str, after: str) -> int:
        return self._connection.execute(_COUNT_SENT, (tool, after)).fetchone()[0]

    def select(self, row_filter: RowFilter) -> list[Row]:
        rows = self._connection.execute(_MATCHING, row_filter._asdict())
        return [Row(*row) for row in rows][::-1]

    def select_sent(self, tool: str, since: str, after: int) -> list[SentAttempt]:
        values = {"tool": tool, "since": since, "after": after}
        rows = self._connection.execute(_SENT_AFTER if after else _SENT, values)
        return [SentAttempt(row[0], Row(*row[1:])) for row in rows]

    def select_unended(self) -> list[Row]:
        return [Row(*row) for row in self._connection.execute(_UNENDED)]

    def has_ended(self, sent: Row) -> bool:
        query = self._connection.execute(_HAS_ENDED, (sent.attempt, sent.id))
        return query.fetchone() is not None

    def is_alive(self, owner: str) -> bool:
        return self._lock.is_alive(owner)

    def remove_stale_owners(self, open_owners: set[str]) -> None:
        owners = {owner for (owner,) in self._connection.execute(_OWNERS)}
        self._lock.remove_stale_files(owners - open_owners)

    def owner_id(self) -> str:
        return self._lock.hold() if self._sends else self._lock.id

    def last_link(self) -> tuple[int, str]:
        return self._connection.execute(_LAST).fetchone() or (0, FIRST_PREVIOUS_HASH)

    def counter(self) -> int:
        return self._connection.execute(_COUNTER).fetchone()[0]

    def insert(self, row: Row) -> None:
        self._connection.execute(INSERT, row)


_decode_any_text = partial(str, encoding="utf-8", errors="surrogateescape")


def _run_and_translate_errors(work: Callable[[], T]) -> T:
    try:
        return work()
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(
            f"The ledger cannot be used ({type(error).__name__}).",
            f"{NOTHING_CHANGED} Check that the data folder exists, has space, and is writable.",
        ) from error


def _connect(database: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        database,
        timeout=_LOCK_TIMEOUT_SECONDS,
        isolation_level=None,  # every transaction begins with an explicit BEGIN
        uri=uri,
    )
