"""The database that replicas share: a few connections, waits with an end, failures in our words."""

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

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.postgres.schema import SCHEMA_NAME, make_tables

T = TypeVar("T")

MAX_CONNECTIONS = 6
"""Of the pool; each replica has at most two more, for what it holds."""

CONNECT_TIMEOUT_SECONDS = 5
QUERY_TIMEOUT_SECONDS = 20.0
"""For one use of the database, whatever happens to it; a part of it is trying again."""

_TRIES = 3
_RECONNECT_TIMEOUT_SECONDS = 2.0
"""Then whoever comes next tries anew: the pool's own pauses grow to minutes."""

_KEEPALIVES: dict[str, str | int] = {
    "application_name": "snapshot-mcp",
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_SESSION: LiteralString = """SELECT set_config(name, value, false) FROM (VALUES
    ('search_path', 'snapshot_mcp'), ('timezone', 'UTC'),
    ('statement_timeout', '5s'), ('lock_timeout', '5s'),
    ('idle_in_transaction_session_timeout', '5s'),
    ('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END),
    ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')
    ) AS wanted (name, value)"""
# The last line: the server looks whether we are there as well, for a machine that lost its power
# says no goodbye.


class Database:
    """The shared database, connected to at the first use.

    Args:
        url: where it is, with name and password.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._guard = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._made = False

    @property
    def pool(self) -> ConnectionPool[Connection]:
        """The connections, opened when there is need of one."""
        with self._guard:
            if self._pool is None:
                self._pool = self._opened()
            return self._pool

    def _opened(self) -> ConnectionPool[Connection]:
        return ConnectionPool(
            self._url,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            kwargs=_KEEPALIVES,
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
        """A connection that is nobody else's, for a lock that lasts as long as it does."""
        connection = psycopg.connect(self._url, autocommit=True, **_KEEPALIVES)  # pyright: ignore[reportArgumentType] - each name has its own type
        _configure(connection)
        return connection

    @contextmanager
    def connection(self, *, make: bool = True) -> Generator[Connection]:
        """A connection in a transaction, which ends well if the block does.

        Args:
            make: make the tables where there are none.
        """
        with self.pool.connection() as connection:
            if make and not self._made:
                make_tables(connection)
                connection.commit()
                self._made = True
            yield connection

    async def use(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread, again where a connection was lost; the wait has an end.

        Raises:
            LedgerError: the database cannot be used.
        """
        try:
            with anyio.fail_after(QUERY_TIMEOUT_SECONDS):
                # Who is cancelled does not wait for a database that does not answer.
                return await to_thread.run_sync(_persevering(work), abandon_on_cancel=True)
        except (psycopg.Error, TimeoutError) as error:
            raise unusable_error(error) from error


def unusable_error(error: Exception) -> LedgerError:
    """What is told of a database that cannot be used; its own words may hold what we sent."""
    return LedgerError(
        f"The database of the ledger cannot be used ({type(error).__name__}), so nothing was sent.",
        "Check that the database of SNAPSHOT_MCP_DATABASE_URL runs, can be reached, and lets its"
        f" user make and write the schema {SCHEMA_NAME}.",
    )


def _persevering(work: Callable[[], T]) -> Callable[[], T]:
    retrying = Retrying(
        retry=retry_if_exception(_is_lost),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random(0.05, 0.5),
        reraise=True,
    )
    return lambda: retrying(work)


def _is_lost(error: BaseException) -> bool:
    """Whether the connection was lost, and not the statement refused.

    Source: PostgreSQL's list of error codes: 08 is the connection, 57P a server that ends.
    """
    if isinstance(error, PoolTimeout) or not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def _configure(connection: Connection) -> None:
    connection.execute(_SESSION)
    if not connection.autocommit:
        connection.commit()
