"""The ledger in PostgreSQL, shared by replicas on any number of machines.

The same rows in the same chain as in `snapshot_mcp.ledger.sqlite`. Who writes holds the one row of
`counter` until the commit, so that all replicas write one after the other, in the chain's order.
"""

from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from typing import LiteralString

import anyio
from psycopg import Connection
from psycopg.rows import class_row

from snapshot_mcp.ledger.base import already_used_error, rate_limit_error
from snapshot_mcp.ledger.chain import (
    FIRST_PREVIOUS,
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
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.liveness import RECONNECT_GRACE_SECONDS, ProcessLease, is_alive
from snapshot_mcp.ledger.postgres.schema import has_tables, problems_of_guards

_COLUMNS: LiteralString = (
    "id, at, event, attempt, tool, target, arguments, principal, client, evidence, reason, owner,"
    " previous, hash"
)
_INSERT: LiteralString = (
    f"INSERT INTO attempts ({_COLUMNS})"  # noqa: S608 - our own column names
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_ALL: LiteralString = f"SELECT {_COLUMNS} FROM attempts ORDER BY id"  # noqa: S608 - as above
_SOME: LiteralString = f"""SELECT {_COLUMNS} FROM attempts WHERE (%(tool)s = '' OR tool = %(tool)s)
    AND (%(event)s = '' OR event = %(event)s) AND (%(attempt)s = '' OR attempt = %(attempt)s)
    AND at >= %(since)s ORDER BY id DESC LIMIT %(limit)s"""  # noqa: S608 - as above
_OPEN: LiteralString = f"""SELECT {_COLUMNS} FROM attempts AS sent WHERE event = 'sent'
    AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempt = sent.attempt AND id > sent.id
    AND event IN ('done', 'failed', 'unknown')) ORDER BY id"""  # noqa: S608 - as above
_ENDED: LiteralString = """SELECT 1 FROM attempts WHERE attempt = %s AND id > %s
    AND event IN ('done', 'failed', 'unknown')"""
_WAS_SENT: LiteralString = "SELECT 1 FROM attempts WHERE attempt = %s AND event = 'sent'"
_SENT_SINCE: LiteralString = (
    "SELECT count(*) FROM attempts WHERE event = 'sent' AND tool = %s AND at > %s"
)
_TURN: LiteralString = "SELECT last FROM counter FOR UPDATE"
_COUNTED: LiteralString = "SELECT last FROM counter"
_COUNT: LiteralString = "UPDATE counter SET last = %s"
_LAST: LiteralString = "SELECT id, hash FROM attempts ORDER BY id DESC LIMIT 1"
_WRITTEN: LiteralString = "SELECT 1 FROM attempts WHERE id = %s AND hash = %s"
_ROWS_AT_ONCE = 1_000


class PostgresLedger:
    """The ledger of replicas. Its tables are made at the first use.

    Args:
        database: where the rows are.
        now: the time, for the rows.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._owner = ProcessLease(database)

    def close(self) -> None:
        """Tell the other replicas that this one sends nothing any more."""
        self._owner.release()

    async def was_sent(self, attempt_id: str) -> bool:
        """As `Recorder.was_sent`."""
        return await self._database.use(lambda: self._was_sent(attempt_id))

    async def sent_within(self, tool: str, seconds: float) -> int:
        """As `Recorder.sent_within`."""
        return await self._database.use(lambda: self._sent_within(tool, seconds))

    async def record(
        self, event: Event, attempt: Attempt, reason: str = "", *, at_most: RateLimit | None = None
    ) -> None:
        """As `Recorder.record`."""
        tried: list[Row] = []
        await self._database.use(lambda: self._record(event, attempt, reason, at_most, tried))

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
            "limit": limit or None,
        }
        return await self._database.use(lambda: self._some_rows(wanted))

    async def unsettled(self) -> list[Row]:
        """As `Recorder.unsettled`; who is gone now may be back in a moment, and is waited for."""
        if not (rows := await self._database.use(self._unsettled)):
            return []
        gone = {row.owner for row in rows}
        await anyio.sleep(RECONNECT_GRACE_SECONDS)
        return [row for row in await self._database.use(self._unsettled) if row.owner in gone]

    async def settle(self, row: Row, event: Event, reason: str) -> None:
        """As `Recorder.settle`."""
        await self._database.use(lambda: self._settle(row, event, reason))

    async def verify(self) -> list[str]:
        """As `Recorder.verify`; who can write the database can write a whole new chain."""
        return await self._database.use(self._verify)

    def _was_sent(self, attempt_id: str) -> bool:
        with self._database.connection() as connection:
            return _was_sent(connection, attempt_id)

    def _sent_within(self, tool: str, seconds: float) -> int:
        with self._database.connection() as connection:
            return _sent_since(connection, tool, self._now() - timedelta(seconds=seconds))

    def _record(
        self,
        event: Event,
        attempt: Attempt,
        reason: str,
        at_most: RateLimit | None,
        tried: list[Row],
    ) -> None:
        # Others see the row at the commit, so the sign of life must be there before.
        owner = self._owner.hold() if event == "sent" else self._owner.id
        with self._database.connection() as connection:
            counter = _whole(connection, _TURN)
            # Where the connection was lost at the commit, the row may be there after all.
            if any(connection.execute(_WRITTEN, (it.id, it.hash)).fetchone() for it in tried):
                return
            # Only now is it this row's turn, so only now it is told the time.
            now = self._now()
            if event == "sent":
                if _was_sent(connection, attempt.id):
                    raise already_used_error()
                if at_most and _sent_within(connection, attempt.tool, at_most, now):
                    raise rate_limit_error(at_most)
            row = _storable(new_row(event, attempt, reason, now, owner))
            tried.append(_append(connection, row, counter))

    def _some_rows(self, wanted: dict[str, str | int | None]) -> list[Row]:
        with self._database.connection() as connection:
            return _rows(connection, _SOME, wanted)[::-1]

    def _unsettled(self) -> list[Row]:
        with self._database.connection() as connection:
            owners = {row.owner for row in _rows(connection, _OPEN)}
            gone = {owner for owner in owners if not is_alive(connection, owner)}
            # Looked at again: who is gone now may have written its last row in between.
            return [row for row in _rows(connection, _OPEN) if row.owner in gone]

    def _settle(self, sent: Row, event: Event, reason: str) -> None:
        with self._database.connection() as connection:
            counter = _whole(connection, _TURN)
            ended = connection.execute(_ENDED, (sent.attempt, sent.id)).fetchone()
            if ended or is_alive(connection, sent.owner):
                return
            row = new_row(event, attempt_of(sent), reason, self._now(), self._owner.id)
            _append(connection, _storable(row), counter)

    def _verify(self) -> list[str]:
        with self._database.connection(make=False) as connection:
            # One moment, whoever writes meanwhile.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if not has_tables(connection):
                return []
            altered = problems_of_guards(connection)
            if any(" table " in sentence for sentence in altered):
                return altered
            counter = _whole(connection, _COUNTED)
            return altered + list(find_problems(_every(connection), counter))


def _whole(connection: Connection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _rows(
    connection: Connection, query: LiteralString, wanted: dict[str, str | int | None] | None = None
) -> list[Row]:
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(query, wanted).fetchall()


def _every(connection: Connection) -> Generator[Row]:
    with connection.cursor("every", row_factory=class_row(Row)) as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(_ALL)
        yield from cursor


def _was_sent(connection: Connection, attempt_id: str) -> bool:
    return connection.execute(_WAS_SENT, (attempt_id,)).fetchone() is not None


def _sent_since(connection: Connection, tool: str, moment: datetime) -> int:
    row = connection.execute(_SENT_SINCE, (tool, stamp(moment))).fetchone()
    return int(row[0]) if row else 0


def _sent_within(connection: Connection, tool: str, at_most: RateLimit, now: datetime) -> bool:
    begin = now - timedelta(seconds=at_most.seconds)
    return _sent_since(connection, tool, begin) >= at_most.events


def _append(connection: Connection, row: Row, counter: int) -> Row:
    last = connection.execute(_LAST).fetchone()
    last_id, last_hash = (int(last[0]), str(last[1])) if last else (0, FIRST_PREVIOUS)
    # The number of a row that was taken away is not given again, so the gap stays to be seen.
    following = sealed(row._replace(id=max(last_id, counter) + 1, previous=last_hash))
    connection.execute(_INSERT, following)
    connection.execute(_COUNT, (following.id,))
    return following


def _storable(row: Row) -> Row:
    """The row in letters that PostgreSQL stores, which a NUL and half a character are not."""
    fields = {
        name: value.encode(errors="replace").decode().replace("\0", "\ufffd")
        for name, value in row._asdict().items()
        if isinstance(value, str)
    }
    return row._replace(**fields)
