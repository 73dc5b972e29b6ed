"""A lock that lasts as long as the session that took it: a process that dies gives it up."""

import selectors
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import Connection

from snapshot_mcp.ledger.postgres.database import Database


class DedicatedSession:
    """One connection of its own, which comes back when it was lost.

    Args:
        database: where to.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._is_abandoned = False

    @contextmanager
    def connection(self) -> Generator[tuple[Connection, bool]]:
        """The connection, and whether it is a new one, which holds nothing yet."""
        with self._guard:
            is_new = self._connection is None or not _answers(self._connection)
            if is_new:
                self._close()
                self._connection = self._database.dedicated_connection()
            assert self._connection is not None  # noqa: S101 - for the type checker
            try:
                yield self._connection, is_new
            except BaseException:
                self._close()  # what it holds by now is not known
                raise
            finally:
                if self._is_abandoned:
                    self._close()

    def is_quiet(self, seconds: float) -> bool:
        """Wait for the database to say something unasked, such as goodbye; whether it did not.

        Nobody is kept from using the connection meanwhile.
        """
        connection = self._connection
        if connection is None:
            return False
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(connection.fileno(), selectors.EVENT_READ)
                return not selector.select(seconds)
        except (psycopg.Error, OSError, ValueError):  # it was closed in this moment
            return False

    def abandon(self) -> None:
        """Give up what it holds or is about to, without waiting for who uses it in a thread."""
        self._is_abandoned = True
        if self._guard.acquire(blocking=False):
            self._close()
            self._guard.release()

    def close(self) -> None:
        """Give up what it holds."""
        with self._guard:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _answers(connection: Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True
