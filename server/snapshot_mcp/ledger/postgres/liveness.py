"""Liveness of server processes on any machine: each holds an advisory lock in the database.

The database releases the lock when the process's connection ends, and checks every few seconds
whether the machine at the other end is still reachable.
"""

import re
import secrets
import threading
from contextlib import suppress

import psycopg
from psycopg import Connection

from snapshot_mcp.ledger.postgres.database import Database
from snapshot_mcp.ledger.postgres.session_lock import DedicatedSession

RECONNECT_GRACE_SECONDS = 2.0
"""Time for a live process to acquire its lock again after its session was cut."""

_RETRY_INTERVAL_SECONDS = 0.25
_POLL_INTERVAL_SECONDS = 1.0
_OWNER_ID = re.compile(r"[0-9a-f]{16}")
_LOCK = "SELECT pg_advisory_lock_shared(%s)"
# The check takes no lock: another process that checks at the same moment would see it as alive.
_IS_LOCKED = """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
    AND granted AND mode = 'ShareLock' AND ((classid::bigint << 32) | objid::bigint) = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class ProcessLease:
    """The lock that shows that this process is alive.

    Args:
        database: the shared database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = _RenewedLock(database)

    @property
    def id(self) -> str:
        """The owner id of this process."""
        return self._lock.id

    def hold(self) -> str:
        """Lock, also again after the session was lost, and return the owner id."""
        return self._lock.acquire()

    def release(self) -> None:
        """Release the lock; the next `hold` uses a new owner id."""
        released, self._lock = self._lock, _RenewedLock(self._database)
        released.release()


class _RenewedLock:
    """A lock with one owner id, acquired again by a thread whenever its session is cut.

    A thread is needed because a sent request may be in progress while no row is written.
    """

    def __init__(self, database: Database) -> None:
        self.id = secrets.token_hex(8)
        self._session = DedicatedSession(database)
        self._is_released = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True)

    def acquire(self) -> str:
        with self._session.connection() as (connection, is_new):
            if is_new:
                connection.execute(_LOCK, (_lock_key(self.id),))
            if self._renewer.ident is None:
                self._renewer.start()
        return self.id

    def release(self) -> None:
        self._is_released.set()
        self._session.abandon()

    def _renew(self) -> None:
        while not self._is_released.is_set():
            if self._session.is_quiet(_POLL_INTERVAL_SECONDS):
                continue
            with suppress(psycopg.Error):
                self.acquire()
                continue
            self._is_released.wait(_RETRY_INTERVAL_SECONDS)


def is_alive(connection: Connection, owner: str) -> bool:
    """Return whether the process with this owner id is alive; False for an invalid id."""
    if not _OWNER_ID.fullmatch(owner):
        return False
    row = connection.execute(_IS_LOCKED, (_lock_key(owner),)).fetchone()
    return row is not None and bool(row[0])


def _lock_key(owner: str) -> int:
    return int.from_bytes(bytes.fromhex(owner), signed=True)
