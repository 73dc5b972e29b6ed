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
from snapshot_mcp.core.private_files import create_private_database, create_private_folder
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import FIRST_PREVIOUS_HASH, Event, Row, SentAttempt
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import MARK_FILE, MISSING_MARK, LockedMark, Mark, MarkFile, new_key
from snapshot_mcp.ledger.process_lock import ProcessLock
from snapshot_mcp.ledger.sqlite_schema import (
    COLUMNS,
    INSERT,
    ensure_schema,
    find_schema_problems,
    has_chain,
    mark_key,
    set_mark_key,
    stored_columns,
)
from snapshot_mcp.ledger.store import ChainSnapshot, RowFilter
from snapshot_mcp.settings.signing_key import KEY_FILE, SigningKey

T = TypeVar("T")

OWNERS_FOLDER = "owners"
_MISSING = "The ledger is missing or was emptied: {} in its folder shows that it was used."

_LOCK_TIMEOUT_SECONDS = 5.0
_ALL = "SELECT {} FROM attempts ORDER BY id"
_ROLLED_BACK = (
    "The mark of the ledger names row {}, but the last row is {}: the mark was replaced by an older"
    " copy, or rows were added without the signing key."
)
_MATCHING = f"""SELECT {COLUMNS} FROM attempts WHERE (:tool = '' OR tool = :tool)
    AND (:event = '' OR event = :event) AND (:attempt = '' OR attempt = :attempt)
    AND at >= :since ORDER BY id DESC LIMIT coalesce(:limit, -1)"""  # noqa: S608 - as above
_UNENDED = f"""SELECT {COLUMNS} FROM attempts AS sent WHERE event = 'sent' AND NOT EXISTS (
    SELECT 1 FROM attempts WHERE attempt = sent.attempt AND id > sent.id
    AND event IN ('done', 'failed', 'unknown')) ORDER BY id"""  # noqa: S608 - as above
_UNKNOWN = f"""SELECT {COLUMNS} FROM attempts AS open WHERE event = 'unknown' AND at >= ?
    AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempt = open.attempt AND id > open.id
    AND event IN ('done', 'failed', 'unknown')) ORDER BY id"""  # noqa: S608 - as above
# "/" is the character after ".", so this is the range of the texts that begin with the id and ".".
_BATCH = f"""SELECT {COLUMNS} FROM attempts WHERE attempt > ? || '.' AND attempt < ? || '/'
    ORDER BY id"""  # noqa: S608 - as above
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
_VALID_EVENT = f"""SELECT {COLUMNS} FROM attempts AS own WHERE attempt = ? AND event = ?
    AND NOT EXISTS (SELECT 1 FROM attempts WHERE id > own.id AND event = 'lost')
    AND (SELECT count(*) FROM attempts WHERE id > own.id)
        = (SELECT max(id) FROM attempts) - own.id"""  # noqa: S608 - as above
_HASH = "SELECT hash FROM attempts WHERE id = ?"
_OWNERS = "SELECT DISTINCT owner FROM attempts WHERE event = 'sent'"
_HAS_EVENT = "SELECT 1 FROM attempts WHERE attempt = ? AND event = ?"
_COUNT_SENT = "SELECT count(*) FROM attempts WHERE event = 'sent' AND tool = ? AND at > ?"
_COUNTER = (
    "SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = 'attempts'"
)
_LAST_ID = "SELECT coalesce(max(id), 0) FROM attempts"
_LAST = "SELECT id, hash, mac FROM attempts ORDER BY id DESC LIMIT 1"


def open_sqlite_ledger(
    path: Path, now: Callable[[], datetime], key: SigningKey | None = None
) -> Ledger:
    """Return the ledger in a file. The file and its folder are created at the first use.

    Args:
        path: the database file.
        now: returns the current time, for the rows.
        key: the signing key; None for the one in the same folder.
    """
    return Ledger(SqliteStore(path), now, key or SigningKey(None, path.parent))


class SqliteStore:
    """A `LedgerStore` in one file.

    Args:
        path: the database file.
    """

    reconnect_grace_seconds = 0.0  # a file lock is never lost while its process lives

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = ProcessLock(path.parent / OWNERS_FOLDER)
        self._mark = MarkFile(path.with_name(MARK_FILE), _LOCK_TIMEOUT_SECONDS)

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
            yield _Transaction(connection, self._lock, self._mark)

    @contextmanager
    def write(self, macs: LedgerMacs, *, sends: bool) -> Generator["_Transaction"]:
        """Open a transaction that appends, as described in `LedgerStore.write`."""
        create_private_folder(self._path.parent)
        with self._mark.lock() as mark, self._connection() as connection:
            _prepare_mark(mark, connection, macs)
            connection.execute("BEGIN IMMEDIATE")
            transaction = _Transaction(connection, self._lock, mark, sends=sends)
            with connection:
                yield transaction
            if transaction.moved_mark is not None:
                mark.move(transaction.moved_mark)

    @contextmanager
    def snapshot(self) -> Generator[ChainSnapshot]:
        """Open the chain for verification; neither the file nor its folder is created."""
        mark = self._mark.read()
        if not self._path.exists():
            yield ChainSnapshot(self._find_traces(mark))
            return
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        with closing(_connect(address, uri=True)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.text_factory = _decode_any_text
            connection.execute("BEGIN")  # read one state, even if others write meanwhile
            problems = find_schema_problems(connection)
            if not has_chain(connection, problems):
                yield ChainSnapshot(problems or self._find_traces(mark))
                return
            if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                problems.append("The database file is damaged.")
            (counter,) = connection.execute(_COUNTER).fetchone()
            columns = stored_columns(connection)
            rows = (Row(*row) for row in connection.execute(_ALL.format(columns)))
            # Others may have appended since the mark was read, so compare with a newer one.
            problems += _find_rollback(_check_key(self._mark.read(), connection), connection)
            mark = _check_key(mark, connection)
            if mark is None and not counter:
                problems += self._find_traces(mark)
            yield ChainSnapshot(problems, rows, counter, mark)

    def _find_traces(self, mark: Mark | None) -> list[str]:
        """Return the problem of a ledger without rows if something shows that it was used."""
        names = [name for name in (KEY_FILE, OWNERS_FOLDER) if self._path.with_name(name).exists()]
        shown = MARK_FILE if mark is not None and mark.row else next(iter(names), "")
        return [_MISSING.format(shown)] if shown else []

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        create_private_folder(self._path.parent)
        create_private_database(self._path)
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

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: ProcessLock,
        mark: MarkFile | LockedMark,
        *,
        sends: bool = False,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._mark = mark
        self._sends = sends
        self.moved_mark: Mark | None = None

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

    def select_unknown(self, since: str) -> list[Row]:
        return [Row(*row) for row in self._connection.execute(_UNKNOWN, (since,))]

    def select_batch(self, batch_id: str) -> list[Row]:
        return [Row(*row) for row in self._connection.execute(_BATCH, (batch_id, batch_id))]

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

    def find_valid_event(self, attempt_id: str, event: Event) -> Row | None:
        row = self._connection.execute(_VALID_EVENT, (attempt_id, event)).fetchone()
        return None if row is None else Row(*row)

    def origin(self) -> str:
        return ""

    def mark(self) -> Mark | None:
        mark = _check_key(self._mark.read(), self._connection)
        # Only while the mark is locked, the rows cannot be newer than it is.
        if isinstance(self._mark, LockedMark) and _find_rollback(mark, self._connection):
            return MISSING_MARK
        return mark

    def hash_of(self, row_id: int) -> str:
        return _hash_of(self._connection, row_id)

    def last_link(self) -> Mark:
        return _last_link(self._connection)

    def counter(self) -> int:
        return self._connection.execute(_COUNTER).fetchone()[0]

    def insert(self, row: Row, mark: Mark | None) -> None:
        self._connection.execute(INSERT, row)
        if mark is not None:
            stored = self._mark.read()
            key = stored.key if stored else new_key()
            set_mark_key(self._connection, key)
            self.moved_mark = mark._replace(key=key)


def _prepare_mark(mark: LockedMark, connection: sqlite3.Connection, macs: LedgerMacs) -> None:
    """Store a mark with a MAC for the last row, if there is none or a crash left it behind.

    Otherwise a ledger with MACs could be passed off as one of an earlier version.
    """
    stored, last = _check_key(mark.read(), connection), _last_link(connection)
    current = macs.sign_mark(Mark(last.row, last.hash, stored.key if stored else new_key()))
    if stored is None:
        # The first append, or the first one of a version that keeps a mark.
        is_due = not last.mac
    elif not stored.mac:
        is_due = not last.mac and stored[:2] == last[:2]
    else:
        is_behind = stored.row == last.row - 1 and macs.fits_row(last.hash, last.mac)
        is_due = is_behind and macs.fits_mark(stored)
    if is_due:
        mark.store(current)


def _find_rollback(mark: Mark | None, connection: sqlite3.Connection) -> list[str]:
    """Return the problem of a mark that is older than a crash can leave it."""
    if mark is None or not mark.mac:
        return []
    last = _last_id(connection)
    is_known = mark.row == 0 or _hash_of(connection, mark.row) == mark.hash
    return [_ROLLED_BACK.format(mark.row, last)] if is_known and mark.row < last - 1 else []


def _last_id(connection: sqlite3.Connection) -> int:
    return connection.execute(_LAST_ID).fetchone()[0]


def _hash_of(connection: sqlite3.Connection, row_id: int) -> str:
    (found,) = connection.execute(_HASH, (row_id,)).fetchone() or ("",)
    return found


def _check_key(mark: Mark | None, connection: sqlite3.Connection) -> Mark | None:
    key = mark_key(connection)
    if mark is None:
        return MISSING_MARK if key else None
    # The key is 0 if the first append ended before it was complete, or if the ledger is gone.
    return mark if key in (0, mark.key) else MISSING_MARK


def _last_link(connection: sqlite3.Connection) -> Mark:
    last = connection.execute(_LAST).fetchone()
    return Mark(last[0], last[1], mac=last[2]) if last else Mark(0, FIRST_PREVIOUS_HASH)


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
