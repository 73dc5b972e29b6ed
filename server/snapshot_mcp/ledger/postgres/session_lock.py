"""A dedicated database session for locks that last as long as the session."""

import selectors
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import Connection

from snapshot_mcp.ledger.postgres.database import Database


class DedicatedSession:
    """One dedicated connection, which is opened again after it was lost.

    Args:
        database: the shared database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._is_abandoned = False

    @contextmanager
    def connection(self) -> Generator[tuple[Connection, bool]]:
        """Open the connection; yield it, and whether it is new and so holds no lock yet."""
        try:
            with self._guard:
                is_new = self._connection is None or not _responds(self._connection)
                if is_new:
                    self._close()
                    self._connection = self._database.dedicated_connection()
                assert self._connection is not None  # noqa: S101 - for the type checker
                try:
                    yield self._connection, is_new
                except BaseException:
                    self._close()  # it is unknown which locks it holds now
                    raise
        finally:
            # Only now, without the guard: `abandon` closes it itself if it comes later.
            if self._is_abandoned:
                self.abandon()

    def is_quiet(self, seconds: float) -> bool:
        """Wait for a message from the database, such as its shutdown; return whether none came.

        Other threads can use the connection meanwhile.
        """
        connection = self._connection
        if connection is None:
            return False
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(connection.fileno(), selectors.EVENT_READ)
                return not selector.select(seconds)
        except (psycopg.Error, OSError, ValueError):  # another thread has just closed it
            return False

    def abandon(self) -> None:
        """Release all locks, without waiting for a thread that uses the connection.

        Such a thread closes the connection when it is done.
        """
        self._is_abandoned = True
        if self._guard.acquire(blocking=False):
            self._close()
            self._guard.release()

    def close(self) -> None:
        """Release all locks and close the connection."""
        with self._guard:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _responds(connection: Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True
