"""The database that replicas share: a small pool, bounded waits, and our own error messages."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import LiteralString, TypeVar

import anyio
import psycopg
from anyio import to_thread
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError
from snapshot_mcp.ledger.postgres.schema import SCHEMA_NAME, create_tables

T = TypeVar("T")

MAX_CONNECTIONS = 6
"""Size of the pool; each replica has at most two more connections, for its locks."""

CONNECT_TIMEOUT_SECONDS = 5
QUERY_TIMEOUT_SECONDS = 20.0
"""Limit for one use of the database, including retries."""

_MAX_TRIES = 3
_RECONNECT_TIMEOUT_SECONDS = 2.0
"""Short, so that the next use connects again: the pool's own pauses grow to minutes."""

_CONNECT_OPTIONS: dict[str, str | int] = {
    "application_name": "snapshot-mcp",
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_CONFIGURE_SESSION: LiteralString = """SELECT set_config(name, value, false) FROM (VALUES
    ('search_path', 'snapshot_mcp'), ('timezone', 'UTC'),
    ('statement_timeout', '5s'), ('lock_timeout', '5s'),
    ('idle_in_transaction_session_timeout', '5s'),
    ('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END),
    ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')
    ) AS wanted (name, value)"""
# The keepalives let the server notice a client machine that lost its power.


class Database:
    """The shared database; it is connected at the first use.

    Args:
        url: its address, with user and password.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._guard = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._has_tables = False

    @property
    def pool(self) -> ConnectionPool[Connection]:
        """The connection pool, opened at the first use."""
        with self._guard:
            if self._pool is None:
                self._pool = self._open_pool()
            return self._pool

    def _open_pool(self) -> ConnectionPool[Connection]:
        return ConnectionPool(
            self._url,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            kwargs=_CONNECT_OPTIONS,
            configure=_configure,
            check=ConnectionPool.check_connection,
            timeout=CONNECT_TIMEOUT_SECONDS,
            reconnect_timeout=_RECONNECT_TIMEOUT_SECONDS,
            open=True,
            name="snapshot-mcp",
        )

    def close(self) -> None:
        """Close every connection of the pool."""
        with self._guard:
            if self._pool is not None:
                self._pool.close(timeout=1)
                self._pool = None

    def dedicated_connection(self) -> Connection:
        """Open a connection outside the pool, for a lock that lasts as long as the connection."""
        connection = psycopg.connect(self._url, autocommit=True, **_CONNECT_OPTIONS)  # pyright: ignore[reportArgumentType] - each name has its own type
        _configure(connection)
        return connection

    @contextmanager
    def connection(self, *, create: bool = True) -> Generator[Connection]:
        """Open a transaction; it is committed if the block succeeds.

        Args:
            create: create the tables if they do not exist.
        """
        with self.pool.connection() as connection:
            if create and not self._has_tables:
                create_tables(connection)
                connection.commit()
                self._has_tables = True
            yield connection

    async def use(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread and repeat it if a connection was lost, within a time limit.

        Raises:
            LedgerError: the database cannot be used.
        """
        try:
            with anyio.fail_after(QUERY_TIMEOUT_SECONDS):
                # A cancelled caller does not wait for a database that does not respond.
                return await to_thread.run_sync(_with_retries(work), abandon_on_cancel=True)
        except (psycopg.Error, TimeoutError) as error:
            raise unusable_error(error) from error


def unusable_error(error: Exception) -> LedgerError:
    """Return our own error, because the database's message may contain values that we sent."""
    return LedgerError(
        f"The ledger's database cannot be used ({type(error).__name__}).",
        f"{NOTHING_CHANGED} Check that the database of SNAPSHOT_MCP_DATABASE_URL is running and"
        f" reachable, and that its user can create and write the schema {SCHEMA_NAME}.",
    )


def _with_retries(work: Callable[[], T]) -> Callable[[], T]:
    retrying = Retrying(
        retry=retry_if_exception(_is_connection_lost),
        stop=stop_after_attempt(_MAX_TRIES),
        wait=wait_random(0.05, 0.5),
        reraise=True,
    )
    return lambda: retrying(work)


def _is_connection_lost(error: BaseException) -> bool:
    """Return whether the connection was lost, rather than the statement rejected.

    Source: PostgreSQL's error codes: class 08 is a connection exception, 57P a server shutdown.
    """
    if isinstance(error, PoolTimeout) or not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def _configure(connection: Connection) -> None:
    connection.execute(_CONFIGURE_SESSION)
    if not connection.autocommit:
        connection.commit()
