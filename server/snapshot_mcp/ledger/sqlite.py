"""Every attempt to change something, written before it is sent. Append-only; SQL lives here.

One SQLite file, shared by all server processes on the same data folder. A plan can be sent once:
the database itself refuses a second row for it, whichever process asks. The rows form a chain
(`chain.py`), so that what was altered behind the ledger's back can be named.
"""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from anyio import to_thread

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.base import already_used_error, rate_limit_error
from snapshot_mcp.ledger.chain import (
    FIRST_PREVIOUS,
    Argument,
    Attempt,
    Event,
    RateLimit,
    Row,
    attempt_of,
    find_problems,
    new_row,
    sealed,
    stamp,
)
from snapshot_mcp.ledger.process_lock import ProcessLock

__all__ = ["Argument", "Attempt", "Event", "RateLimit", "Row", "SqliteLedger"]

OWNERS_FOLDER = "owners"

_SCHEMA_VERSION = 2
_SECONDS_TO_WAIT_FOR_A_LOCK = 5.0
_SCHEMA = (
    """CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    attempt TEXT NOT NULL,
    tool TEXT NOT NULL,
    target INTEGER NOT NULL,
    arguments TEXT NOT NULL,
    principal TEXT NOT NULL,
    client TEXT NOT NULL,
    evidence TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
)""",
    """CREATE UNIQUE INDEX one_sent_row_an_attempt ON attempts (attempt)
    WHERE event = 'sent'""",
    "CREATE INDEX attempts_by_attempt ON attempts (attempt)",
    "CREATE INDEX sent_by_tool_and_time ON attempts (tool, at) WHERE event = 'sent'",
    """CREATE TRIGGER attempts_are_not_updated BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER attempts_are_not_deleted BEFORE DELETE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
)
_COLUMNS = ", ".join(Row._fields)
_INSERT = f"INSERT INTO attempts ({_COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608 - our own column names
_ALL = f"SELECT {_COLUMNS} FROM attempts ORDER BY id"  # noqa: S608 - as above
_SOME = f"""SELECT {_COLUMNS} FROM attempts WHERE (:tool = '' OR tool = :tool)
    AND (:event = '' OR event = :event) AND (:attempt = '' OR attempt = :attempt)
    AND at >= :since ORDER BY id DESC LIMIT :limit"""  # noqa: S608 - as above
_OPEN = f"""SELECT {_COLUMNS} FROM attempts AS sent WHERE event = 'sent' AND NOT EXISTS (
    SELECT 1 FROM attempts WHERE attempt = sent.attempt AND id > sent.id
    AND event IN ('done', 'failed', 'unknown')) ORDER BY id"""  # noqa: S608 - as above
_ENDED = """SELECT 1 FROM attempts WHERE attempt = ? AND id > ?
    AND event IN ('done', 'failed', 'unknown')"""
_OWNERS = "SELECT DISTINCT owner FROM attempts WHERE event = 'sent'"
_WAS_SENT = "SELECT 1 FROM attempts WHERE attempt = ? AND event = 'sent'"
_SENT_SINCE = "SELECT count(*) FROM attempts WHERE event = 'sent' AND tool = ? AND at > ?"
_COUNTER = (
    "SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = 'attempts'"
)
_LAST = "SELECT id, hash FROM attempts ORDER BY id DESC LIMIT 1"
_DEFINITIONS = "SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite_*'"


class SqliteLedger:
    """The ledger in one file. The file and its folder are made at the first use.

    Args:
        path: the database file.
        now: the time, for the rows.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now
        self._owner = ProcessLock(path.parent / OWNERS_FOLDER)

    def close(self) -> None:
        """Tell the other processes that this one sends nothing any more."""
        self._owner.release()

    async def was_sent(self, attempt_id: str) -> bool:
        """As `Recorder.was_sent`."""
        return await to_thread.run_sync(self._was_sent, attempt_id)

    async def sent_within(self, tool: str, seconds: float) -> int:
        """As `Recorder.sent_within`."""
        return await to_thread.run_sync(self._sent_within, tool, seconds)

    async def record(
        self, event: Event, attempt: Attempt, reason: str = "", *, at_most: RateLimit | None = None
    ) -> None:
        """As `Recorder.record`."""
        await to_thread.run_sync(self._record, event, attempt, reason, at_most)

    async def rows(
        self,
        *,
        tool: str = "",
        event: str = "",
        attempt: str = "",
        since: datetime | None = None,
        limit: int = 0,
    ) -> list[Row]:
        """As `Recorder.rows`."""
        wanted = {
            "tool": tool,
            "event": event,
            "attempt": attempt,
            "since": stamp(since) if since else "",
            "limit": limit or -1,
        }
        return await to_thread.run_sync(self._some_rows, wanted)

    async def unsettled(self) -> list[Row]:
        """As `Recorder.unsettled`."""
        return await to_thread.run_sync(self._unsettled)

    async def settle(self, row: Row, event: Event, reason: str) -> None:
        """As `Recorder.settle`."""
        await to_thread.run_sync(self._settle, row, event, reason)

    async def verify(self) -> list[str]:
        """As `Recorder.verify`; who can write the file can also write a whole new chain."""
        return await to_thread.run_sync(self._verify)

    def _was_sent(self, attempt_id: str) -> bool:
        with self._connection() as connection:
            return _was_sent(connection, attempt_id)

    def _sent_within(self, tool: str, seconds: float) -> int:
        with self._connection() as connection:
            return _sent_since(connection, tool, self._now() - timedelta(seconds=seconds))

    def _record(
        self, event: Event, attempt: Attempt, reason: str, at_most: RateLimit | None
    ) -> None:
        with self._connection() as connection, _writing(connection):
            # Only now is it this row's turn, so only now it is told the time.
            now = self._now()
            if event == "sent":
                _refuse_again(connection, attempt)
                if at_most:
                    _refuse_too_many(connection, attempt.tool, at_most, now)
            # Others see the row at the commit, so the sign of life must be there before.
            owner = self._owner.hold() if event == "sent" else self._owner.id
            _append(connection, new_row(event, attempt, reason, now, owner))

    def _some_rows(self, wanted: dict[str, str | int]) -> list[Row]:
        with self._connection() as connection:
            connection.text_factory = _any_text
            return [Row(*row) for row in connection.execute(_SOME, wanted)][::-1]

    def _unsettled(self) -> list[Row]:
        with self._connection() as connection:
            connection.text_factory = _any_text
            owners = {Row(*row).owner for row in connection.execute(_OPEN)}
            gone = {owner for owner in owners if not self._owner.is_alive(owner)}
            # Looked at again: who is gone now may have written its last row in between.
            rows = [Row(*row) for row in connection.execute(_OPEN)]
            finished = {owner for (owner,) in connection.execute(_OWNERS)}
            self._owner.remove_stale_files(finished - {row.owner for row in rows})
            return [row for row in rows if row.owner in gone]

    def _settle(self, row: Row, event: Event, reason: str) -> None:
        with self._connection() as connection, _writing(connection):
            ended = connection.execute(_ENDED, (row.attempt, row.id)).fetchone()
            if ended or self._owner.is_alive(row.owner):
                return
            end = new_row(event, attempt_of(row), reason, self._now(), self._owner.id)
            _append(connection, end)

    def _verify(self) -> list[str]:
        with _told():
            if not self._path.exists():
                return []
            address = f"{self._path.absolute().as_uri()}?mode=rw"
            with closing(_connect(address, uri=True)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.text_factory = _any_text
                connection.execute("BEGIN")  # one moment, whoever writes meanwhile
                return _problems_in(connection)

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        with _told():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(_connect(self._path)) as connection:
                with suppress(sqlite3.OperationalError):
                    # Another process is at its first use: what it sets serves as well.
                    connection.execute("PRAGMA journal_mode = WAL")
                # A row must be on the disk before its request is on the wire.
                connection.execute("PRAGMA synchronous = FULL")
                if _version(connection) < _SCHEMA_VERSION:
                    _migrate(connection)
                yield connection


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(
            f"The ledger cannot be used ({type(error).__name__}), so nothing was sent.",
            "Check that the data folder exists, has space, and may be written.",
        ) from error


def _connect(database: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        database,
        timeout=_SECONDS_TO_WAIT_FOR_A_LOCK,
        isolation_level=None,  # every transaction is begun in so many words
        uri=uri,
    )


@contextmanager
def _writing(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def _was_sent(connection: sqlite3.Connection, attempt_id: str) -> bool:
    return connection.execute(_WAS_SENT, (attempt_id,)).fetchone() is not None


def _sent_since(connection: sqlite3.Connection, tool: str, moment: datetime) -> int:
    return connection.execute(_SENT_SINCE, (tool, stamp(moment))).fetchone()[0]


def _refuse_again(connection: sqlite3.Connection, attempt: Attempt) -> None:
    if _was_sent(connection, attempt.id):
        raise already_used_error()


def _refuse_too_many(
    connection: sqlite3.Connection, tool: str, at_most: RateLimit, now: datetime
) -> None:
    begin = now - timedelta(seconds=at_most.seconds)
    if _sent_since(connection, tool, begin) >= at_most.events:
        raise rate_limit_error(at_most)


def _append(connection: sqlite3.Connection, row: Row) -> None:
    (counter,) = connection.execute(_COUNTER).fetchone()
    last_id, last_hash = connection.execute(_LAST).fetchone() or (0, FIRST_PREVIOUS)
    # The number of a row that was taken away is not given again, so the gap stays to be seen.
    following = row._replace(id=max(last_id, counter) + 1, previous=last_hash)
    connection.execute(_INSERT, sealed(following))


_any_text = partial(str, encoding="utf-8", errors="surrogateescape")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise LedgerError(
            "The ledger was written by a newer version of snapshot-mcp.",
            "Nothing was sent. Use that version, or another data folder.",
        )
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    with _writing(connection):
        if _version(connection) == _SCHEMA_VERSION:
            return  # another process was quicker
        columns = {column[1] for column in connection.execute("PRAGMA table_info(attempts)")}
        if "hash" not in columns:
            _rebuild(connection, from_version_1=bool(columns))
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


def _rebuild(connection: sqlite3.Connection, *, from_version_1: bool) -> None:
    old: list[Row] = []
    if from_version_1:
        query = """SELECT 0, at, event, attempt, tool, target, arguments, principal, '', evidence,
            reason, '', '', '' FROM attempts ORDER BY id"""
        old = [Row(*row) for row in connection.execute(query)]
        connection.execute("DROP TABLE attempts")
    for statement in _SCHEMA:
        connection.execute(statement)
    for row in old:
        _append(connection, row)


def _problems_in(connection: sqlite3.Connection) -> list[str]:
    found = {tuple(row) for row in connection.execute(_DEFINITIONS)}
    if not found and _version(connection) == 0:
        return []  # a first use that ended before it began
    if _version(connection) < _SCHEMA_VERSION:
        return ["The ledger says that it is of a version without a chain; a server adds one."]
    altered = _problems_of_definitions(found)
    if any(" table attempts " in sentence for sentence in altered):
        return altered
    if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        altered.append("The database file itself is damaged.")
    (counter,) = connection.execute(_COUNTER).fetchone()
    return altered + list(find_problems((Row(*row) for row in connection.execute(_ALL)), counter))


def _problems_of_definitions(found: set[tuple[str, str, str]]) -> list[str]:
    with closing(_connect(":memory:")) as connection:
        for statement in _SCHEMA:
            connection.execute(statement)
        own: set[tuple[str, str, str]] = set(connection.execute(_DEFINITIONS))
    missing = sorted((kind, name) for kind, name, _ in own - found)
    sentences = [f"The {kind} {name} is gone or was altered." for kind, name in missing]
    foreign = {name for _, name, _ in found} - {name for _, name, _ in own}
    if foreign:
        sentences.append(f"{len(foreign)} tables, indexes or triggers are not the ledger's own.")
    return sentences
