"""The change lock: one change at a time across all replicas, so last-copy checks stay valid."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from psycopg.errors import LockNotAvailable, QueryCanceled

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.session_lock import DedicatedSession

_LOCK = "SELECT pg_advisory_lock(hashtext('snapshot-mcp'), 2)"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('snapshot-mcp'), 2)"


class ChangeLock:
    """The lock on changes; waiting replicas get it in the order in which they asked.

    Args:
        database: the shared database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session = DedicatedSession(database)

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Hold the lock within the block. The caller limits how long to wait for it.

        If the database goes away meanwhile, the lock is lost and the block continues.

        Raises:
            LedgerError: the database cannot be used.
        """
        try:
            while not await self._database.use(self._try_lock):
                pass
        except BaseException:
            # A thread may still acquire the lock, and nothing would release it.
            self._session.abandon()
            self._session = DedicatedSession(self._database)
            raise
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True), suppress(LedgerError):
                await self._database.use(self._unlock)

    def close(self) -> None:
        """Release the lock and close the connection."""
        self._session.close()

    def _try_lock(self) -> bool:
        with self._session.connection() as (connection, _):
            try:
                connection.execute(_LOCK)
            except (LockNotAvailable, QueryCanceled):  # the session's lock timeout
                return False
            return True

    def _unlock(self) -> None:
        with self._session.connection() as (connection, is_new):
            if not is_new:
                connection.execute(_UNLOCK)
