"""The high-water mark of a ledger in a file: its last row, in another file beside it.

The mark moves after each append, before the request of a "sent" row leaves. After a crash it may
lag behind the ledger, but it never leads. So if the ledger does not have the row of its mark, the
ledger was removed, emptied or replaced by an older copy.
"""

import secrets
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError
from snapshot_mcp.core.private_files import create_private_database

MARK_FILE = "ledger.mark"

_SCHEMA = """CREATE TABLE IF NOT EXISTS mark (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    row INTEGER NOT NULL, hash TEXT NOT NULL, key INTEGER NOT NULL)"""
_READ = "SELECT row, hash, key FROM mark"
_READ_WITH_MAC = "SELECT row, hash, key, mac FROM mark"
_HAS_MAC = "SELECT 1 FROM pragma_table_info('mark') WHERE name = 'mac'"
_ADD_MAC = "ALTER TABLE mark ADD COLUMN mac TEXT NOT NULL DEFAULT ''"
_WRITE = "INSERT OR REPLACE INTO mark VALUES (1, ?, ?, ?, ?)"
_KEY_BITS = 31


class Mark(NamedTuple):
    """The last row of a ledger.

    Attributes:
        row: its id; 0 is the start of the chain.
        hash: its hash.
        key: a random number that the ledger and the file of its mark share; 0 in a database.
        mac: MAC of the row and the hash; empty if an earlier version wrote the mark.
    """

    row: int
    hash: str
    key: int = 0
    mac: str = ""


MISSING_MARK = Mark(0, "")
"""The mark of a ledger whose mark was removed, or is that of another one. No ledger has its row."""


def new_key() -> int:
    """Return the key of a new mark."""
    return secrets.randbits(_KEY_BITS) or 1


class MarkFile:
    """The mark of one ledger, and the lock of the process that appends to it.

    Args:
        path: the file, which is an SQLite database; it is created by the first append.
        timeout: seconds to wait for the lock.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def read(self) -> Mark | None:
        """Return the mark; None if there is none. Nothing is created.

        Read it before the ledger: a mark that is read later may lead what was read of the ledger.
        """
        if not self._path.exists():
            return None
        with closing(self._open("rw")) as connection:
            tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'mark'")
            return None if tables.fetchone() is None else _read(connection)

    @contextmanager
    def lock(self) -> Generator["LockedMark"]:
        """Let no other process append during the block; the mark is durable after it."""
        create_private_database(self._path)
        with closing(self._open("rwc")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.execute(_SCHEMA)
                if connection.execute(_HAS_MAC).fetchone() is None:
                    connection.execute(_ADD_MAC)
                yield LockedMark(connection)

    def _open(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,  # every transaction begins with an explicit BEGIN
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError):  # the file is busy, for example
                raise
            raise LedgerError(
                f"The file {self._path.name} beside the ledger is damaged.",
                f"{NOTHING_CHANGED} The operator can remove it, and then run `snapshot-mcp ledger"
                " acknowledge`.",
            ) from error
        return connection


class LockedMark:
    """The mark while this process may append."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def read(self) -> Mark | None:
        """Return the mark; None if there is none."""
        return _read(self._connection)

    def store(self, mark: Mark) -> None:
        """Store a mark durably. Another process may append before this returns."""
        self._connection.execute(_WRITE, mark)
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    def move(self, mark: Mark) -> None:
        """Move the mark to a later row."""
        self._connection.execute(_WRITE, mark)


def _read(connection: sqlite3.Connection) -> Mark | None:
    has_mac = connection.execute(_HAS_MAC).fetchone() is not None
    row = connection.execute(_READ_WITH_MAC if has_mac else _READ).fetchone()
    return None if row is None else Mark(*row)
