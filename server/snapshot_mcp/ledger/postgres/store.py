"""The ledger in PostgreSQL, shared by replicas on any number of machines.

A writer locks the single row of `counter` until it commits, so that all replicas append one after
the other, in the order of the chain.
"""

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import LiteralString, TypeVar

from psycopg import Connection
from psycopg.rows import class_row

from snapshot_mcp.ledger.chain import (
    FIRST_PREVIOUS_HASH,
    ORIGIN_ARGUMENT,
    Event,
    Row,
    SentAttempt,
)
from snapshot_mcp.ledger.macs import LedgerMacs
from snapshot_mcp.ledger.mark import MISSING_MARK, Mark
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.liveness import RECONNECT_GRACE_SECONDS, ProcessLease, is_alive
from snapshot_mcp.ledger.postgres.schema import find_schema_problems, has_macs, has_tables
from snapshot_mcp.ledger.store import ChainSnapshot, RowFilter

T = TypeVar("T")

_COLUMNS: LiteralString = (
    "id, at, event, attempt, tool, target, arguments, principal, client, evidence, reason, owner,"
    " previous, hash, mac"
)
_INSERT: LiteralString = (
    f"INSERT INTO attempts ({_COLUMNS})"  # noqa: S608 - our own column names
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_ALL: LiteralString = f"SELECT {_COLUMNS} FROM attempts ORDER BY id"  # noqa: S608 - as above
_ALL_WITHOUT_MACS: LiteralString = _ALL.replace(", mac", "")
_MATCHING: LiteralString = f"""SELECT {_COLUMNS} FROM attempts
    WHERE (%(tool)s = '' OR tool = %(tool)s)
    AND (%(event)s = '' OR event = %(event)s) AND (%(attempt)s = '' OR attempt = %(attempt)s)
    AND at >= %(since)s ORDER BY id DESC LIMIT %(limit)s"""  # noqa: S608 - as above
_UNENDED: LiteralString = f"""SELECT {_COLUMNS} FROM attempts AS sent WHERE event = 'sent'
    AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempt = sent.attempt AND id > sent.id
    AND event IN ('done', 'failed', 'unknown')) ORDER BY id"""  # noqa: S608 - as above
_LAST_COLUMNS: LiteralString = "latest." + _COLUMNS.replace(", ", ", latest.")
_SENT: LiteralString = f"""SELECT sent.at, {_LAST_COLUMNS} FROM attempts AS sent
    JOIN attempts AS latest ON latest.id = (SELECT max(id) FROM attempts
        WHERE attempt = sent.attempt AND event IN ('sent', 'done', 'failed', 'unknown'))
    WHERE sent.event = 'sent' AND sent.tool = %(tool)s AND sent.at >= %(since)s
    ORDER BY sent.id"""  # noqa: S608 - as above
_SENT_AFTER: LiteralString = f"""SELECT sent.at, {_LAST_COLUMNS} FROM attempts AS latest
    JOIN attempts AS sent ON sent.attempt = latest.attempt AND sent.event = 'sent'
    WHERE latest.id > %(after)s AND latest.tool = %(tool)s AND sent.at >= %(since)s
    AND latest.event IN ('sent', 'done', 'failed', 'unknown') ORDER BY latest.id"""  # noqa: S608 - as above
_UNKNOWN: LiteralString = f"""SELECT {_COLUMNS} FROM attempts AS open
    WHERE event = 'unknown' AND at >= %s
    AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempt = open.attempt AND id > open.id
    AND event IN ('done', 'failed', 'unknown')) ORDER BY id"""  # noqa: S608 - as above
# "/" is the character after ".", so this is the range of the texts that begin with the id and ".".
_BATCH: LiteralString = f"""SELECT {_COLUMNS} FROM attempts
    WHERE attempt > %s || '.' AND attempt < %s || '/' ORDER BY id"""  # noqa: S608 - as above
_HAS_ENDED: LiteralString = """SELECT 1 FROM attempts WHERE attempt = %s AND id > %s
    AND event IN ('done', 'failed', 'unknown')"""
_HAS_EVENT: LiteralString = "SELECT 1 FROM attempts WHERE attempt = %s AND event = %s"
_COUNT_SENT: LiteralString = (
    "SELECT count(*) FROM attempts WHERE event = 'sent' AND tool = %s AND at > %s"
)
_VALID_EVENT: LiteralString = f"""SELECT {_COLUMNS} FROM attempts AS own
    WHERE attempt = %s AND event = %s
    AND NOT EXISTS (SELECT 1 FROM attempts WHERE id > own.id AND event = 'lost')
    AND (SELECT count(*) FROM attempts WHERE id > own.id)
        = (SELECT max(id) FROM attempts) - own.id"""  # noqa: S608 - as above
# A restore from a backup, a failover and a restart change at least one of these.
_ORIGIN: LiteralString = """SELECT concat_ws(' ', pg_postmaster_start_time(),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    'attempts'::regclass::oid)"""
_HASH: LiteralString = "SELECT hash FROM attempts WHERE id = %s"
_LOCK_COUNTER: LiteralString = "SELECT last FROM counter FOR UPDATE"
_COUNTER: LiteralString = "SELECT last FROM counter"
_SET_COUNTER: LiteralString = "UPDATE counter SET last = %s"
_MARK: LiteralString = "SELECT last, hash, mac FROM counter"
_SET_MARK: LiteralString = "UPDATE counter SET last = %s, hash = %s, mac = %s"
_LAST: LiteralString = "SELECT id, hash, mac FROM attempts ORDER BY id DESC LIMIT 1"
_FETCH_SIZE = 1_000
_ORIGIN_LENGTH = 16


class PostgresStore:
    """A `LedgerStore` in a database that replicas share. Its tables are created at the first use.

    Args:
        database: the shared database.
    """

    reconnect_grace_seconds = RECONNECT_GRACE_SECONDS

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lease = ProcessLease(database)

    def close(self) -> None:
        """Declare that this process sends nothing more."""
        self._lease.release()

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread, as described in `LedgerStore.run`."""
        return await self._database.use(work)

    @contextmanager
    def read(self) -> Generator["_Transaction"]:
        """Open a transaction that only reads."""
        with self._database.connection() as connection:
            yield _Transaction(connection, self._lease.id)

    @contextmanager
    def write(self, macs: LedgerMacs, *, sends: bool) -> Generator["_Transaction"]:  # noqa: ARG002 - the mark is in the same transaction
        """Open a transaction that appends, as described in `LedgerStore.write`."""
        # Connecting the lease can take seconds, so do it before the other replicas have to wait.
        owner = self._lease.hold() if sends else self._lease.id
        with self._database.connection() as connection:
            counter = _fetch_number(connection, _LOCK_COUNTER)
            yield _Transaction(connection, owner, counter)

    @contextmanager
    def snapshot(self) -> Generator[ChainSnapshot]:
        """Open the chain for verification; no table is created."""
        with self._database.connection(create=False) as connection:
            # Read one state, even if others write meanwhile.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if not has_tables(connection):
                yield ChainSnapshot([])
                return
            problems = find_schema_problems(connection)
            if any(" table " in problem for problem in problems):
                yield ChainSnapshot(problems)
                return
            counter = _fetch_number(connection, _COUNTER)
            if has_macs(connection):
                rows = _fetch_all(connection, _ALL)
                yield ChainSnapshot(problems, rows, counter, _fetch_mark(connection))
            else:
                yield ChainSnapshot(problems, _fetch_all(connection, _ALL_WITHOUT_MACS), counter)


class _Transaction:
    """A `LedgerTransaction` on one connection."""

    def __init__(self, connection: Connection, owner: str, counter: int | None = None) -> None:
        self._connection = connection
        self._owner = owner
        self._counter = counter

    def has_event(self, attempt_id: str, event: Event) -> bool:
        return self._connection.execute(_HAS_EVENT, (attempt_id, event)).fetchone() is not None

    def count_sent(self, tool: str, after: str) -> int:
        return _fetch_number(self._connection, _COUNT_SENT, tool, after)

    def select(self, row_filter: RowFilter) -> list[Row]:
        with self._connection.cursor(row_factory=class_row(Row)) as cursor:
            return cursor.execute(_MATCHING, row_filter._asdict()).fetchall()[::-1]

    def select_sent(self, tool: str, since: str, after: int) -> list[SentAttempt]:
        values = {"tool": tool, "since": since, "after": after}
        rows = self._connection.execute(_SENT_AFTER if after else _SENT, values)
        return [SentAttempt(row[0], Row(*row[1:])) for row in rows]

    def select_unended(self) -> list[Row]:
        with self._connection.cursor(row_factory=class_row(Row)) as cursor:
            return cursor.execute(_UNENDED).fetchall()

    def select_unknown(self, since: str) -> list[Row]:
        with self._connection.cursor(row_factory=class_row(Row)) as cursor:
            return cursor.execute(_UNKNOWN, (since,)).fetchall()

    def select_batch(self, batch_id: str) -> list[Row]:
        with self._connection.cursor(row_factory=class_row(Row)) as cursor:
            return cursor.execute(_BATCH, (batch_id, batch_id)).fetchall()

    def has_ended(self, sent: Row) -> bool:
        query = self._connection.execute(_HAS_ENDED, (sent.attempt, sent.id))
        return query.fetchone() is not None

    def is_alive(self, owner: str) -> bool:
        return is_alive(self._connection, owner)

    def remove_stale_owners(self, open_owners: set[str]) -> None:
        """Do nothing: PostgreSQL releases the locks of dead processes by itself."""

    def owner_id(self) -> str:
        return self._owner

    def find_valid_event(self, attempt_id: str, event: Event) -> Row | None:
        found = self._connection.execute(_VALID_EVENT, (attempt_id, event)).fetchone()
        if found is None:
            return None
        row = Row(*found)
        # The row of a batch has no origin, and neither has one of an earlier version.
        origin = json.loads(row.arguments).get(ORIGIN_ARGUMENT)
        return row if origin is None or origin == self.origin() else None

    def origin(self) -> str:
        row = self._connection.execute(_ORIGIN).fetchone()
        return hashlib.sha256(str(row).encode()).hexdigest()[:_ORIGIN_LENGTH]

    def mark(self) -> Mark | None:
        return _fetch_mark(self._connection)

    def hash_of(self, row_id: int) -> str:
        row = self._connection.execute(_HASH, (row_id,)).fetchone()
        return str(row[0]) if row else ""

    def last_link(self) -> Mark:
        row = self._connection.execute(_LAST).fetchone()
        return Mark(int(row[0]), row[1], mac=row[2]) if row else Mark(0, FIRST_PREVIOUS_HASH)

    def counter(self) -> int:
        if self._counter is None:
            return _fetch_number(self._connection, _COUNTER)
        return self._counter

    def insert(self, row: Row, mark: Mark | None) -> None:
        self._connection.execute(_INSERT, row)
        if mark is None:
            self._connection.execute(_SET_COUNTER, (row.id,))
        else:
            self._connection.execute(_SET_MARK, (mark.row, mark.hash, mark.mac))


def _fetch_number(connection: Connection, query: LiteralString, *values: str) -> int:
    row = connection.execute(query, values).fetchone()
    return int(row[0]) if row else 0


def _fetch_mark(connection: Connection) -> Mark | None:
    row = connection.execute(_MARK).fetchone()
    if row is None or not (row[1] or row[2]):
        return None  # an earlier version kept the number of the last row only
    return Mark(int(row[0]), row[1], mac=row[2]) if row[2] else MISSING_MARK


def _fetch_all(connection: Connection, query: LiteralString) -> Generator[Row]:
    with connection.cursor("all_rows", row_factory=class_row(Row)) as cursor:
        cursor.itersize = _FETCH_SIZE
        cursor.execute(query)
        yield from cursor
