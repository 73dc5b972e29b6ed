"""One change at a time across all replicas: who checks the last copies is not overtaken."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from psycopg.errors import LockNotAvailable, QueryCanceled

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.session_lock import DedicatedSession

_TAKE = "SELECT pg_advisory_lock(hashtext('snapshot-mcp'), 2)"
_GIVE_BACK = "SELECT pg_advisory_unlock(hashtext('snapshot-mcp'), 2)"


class ChangeLock:
    """The turn to change something. Who waits is served in the order of coming.

    Args:
        database: what the replicas share.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session = DedicatedSession(database)

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Have the turn. How long to wait for it is the caller's to say.

        A database that goes away meanwhile takes the turn with it; what is under way goes on.

        Raises:
            LedgerError: the database cannot be used.
        """
        try:
            while not await self._database.use(self._took):
                pass
        except BaseException:
            # A thread may still be about to get it, and nobody would give it back.
            self._session.abandon()
            self._session = DedicatedSession(self._database)
            raise
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True), suppress(LedgerError):
                await self._database.use(self._gave_back)

    def close(self) -> None:
        """Give up the turn, and the connection."""
        self._session.close()

    def _took(self) -> bool:
        with self._session.connection() as (connection, _):
            try:
                connection.execute(_TAKE)
            except (LockNotAvailable, QueryCanceled):  # so long the database lets anybody wait
                return False
            return True

    def _gave_back(self) -> None:
        with self._session.connection() as (connection, is_new):
            if not is_new:
                connection.execute(_GIVE_BACK)
