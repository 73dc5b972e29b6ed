"""Every attempt to change something, written before it is sent. Append-only; SQL lives here.

One SQLite file, shared by all server processes on the same data folder. A plan can be sent once:
the database itself refuses a second row for it, whichever process asks.
"""

import json
import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from anyio import to_thread

from snapshot_mcp.errors import LedgerError, RefusedError

Event = Literal["sent", "done", "failed", "unknown"]
Argument = str | int | bool | list[str]

_SCHEMA_VERSION = 1
_SECONDS_TO_WAIT_FOR_A_LOCK = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    attempt TEXT NOT NULL,
    tool TEXT NOT NULL,
    target INTEGER NOT NULL,
    arguments TEXT NOT NULL,
    principal TEXT NOT NULL,
    evidence TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_sent_row_an_attempt
    ON attempts (attempt) WHERE event = 'sent';
CREATE TRIGGER IF NOT EXISTS attempts_are_not_updated BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS attempts_are_not_deleted BEFORE DELETE ON attempts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


class Attempt(NamedTuple):
    """One attempt to change something.

    Attributes:
        id: the plan's id, or an id of its own where no plan is needed.
        tool: name of the tool.
        target: id of the snapshot or VM.
        arguments: what was asked for; never a secret.
        principal: who asked.
        evidence: what shows that it was agreed to.
    """

    id: str
    tool: str
    target: int
    arguments: Mapping[str, Argument]
    principal: str
    evidence: str


class Row(NamedTuple):
    """One row of the ledger, as it is stored."""

    at: str
    event: str
    attempt: str
    tool: str
    target: int
    arguments: str
    principal: str
    evidence: str
    reason: str


class Ledger:
    """The ledger in one file. The file and its folder are made at the first use.

    Args:
        path: the database file.
        now: the time, for the rows.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now

    async def was_sent(self, attempt_id: str) -> bool:
        """Whether an attempt with this id was ever sent.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        return await to_thread.run_sync(self._was_sent, attempt_id)

    async def record(self, event: Event, attempt: Attempt, reason: str = "") -> None:
        """Append one row, durably.

        Raises:
            RefusedError: the event is "sent" and this attempt was sent before.
            LedgerError: the row could not be written.
        """
        await to_thread.run_sync(self._append, event, attempt, reason)

    async def rows(self) -> list[Row]:
        """All rows, oldest first.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        return await to_thread.run_sync(self._rows)

    def _was_sent(self, attempt_id: str) -> bool:
        with self._connection() as connection:
            query = "SELECT 1 FROM attempts WHERE attempt = ? AND event = 'sent'"
            return connection.execute(query, (attempt_id,)).fetchone() is not None

    def _rows(self) -> list[Row]:
        with self._connection() as connection:
            query = f"SELECT {', '.join(Row._fields)} FROM attempts ORDER BY id"  # noqa: S608 - our own column names
            return [Row(*row) for row in connection.execute(query)]

    def _append(self, event: Event, attempt: Attempt, reason: str) -> None:
        row = Row(
            at=self._now().isoformat(timespec="milliseconds"),
            event=event,
            attempt=attempt.id,
            tool=attempt.tool,
            target=attempt.target,
            arguments=json.dumps(attempt.arguments, sort_keys=True),
            principal=attempt.principal,
            evidence=attempt.evidence,
            reason=reason,
        )
        try:
            with self._connection() as connection, connection:
                connection.execute(
                    f"INSERT INTO attempts ({', '.join(Row._fields)})"  # noqa: S608 - our own column names
                    f" VALUES ({', '.join('?' * len(Row._fields))})",
                    row,
                )
        except sqlite3.IntegrityError as error:
            raise RefusedError(
                "This plan was already used; a plan can be used once.",
                "Nothing was sent now. Look at the current state first.",
            ) from error

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self._path, timeout=_SECONDS_TO_WAIT_FOR_A_LOCK)
            ) as connection:
                with suppress(sqlite3.OperationalError):
                    # Another process is at its first use: what it sets serves as well.
                    connection.execute("PRAGMA journal_mode = WAL")
                # A row must be on the disk before its request is on the wire.
                connection.execute("PRAGMA synchronous = FULL")
                _migrate(connection)
                yield connection
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"The ledger cannot be used ({type(error).__name__}), so nothing was sent.",
                "Check that the data folder exists, has space, and may be written.",
            ) from error


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise LedgerError(
            "The ledger was written by a newer version of snapshot-mcp.",
            "Nothing was sent. Use that version, or another data folder.",
        )
    if version < _SCHEMA_VERSION:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
        )
