"""Which server processes are alive, on whatever machine: each holds a lock of the database.

The database lets go of it when the process's connection ends, and looks every few seconds whether
the machine at its other end is still there.
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
"""So long a process that is alive may take to give its sign again, where its session was cut."""

_RETRY_INTERVAL_SECONDS = 0.25
_SECONDS_OF_A_LOOK = 1.0
_ID = re.compile(r"[0-9a-f]{16}")
_HOLD = "SELECT pg_advisory_lock_shared(%s)"
# Whoever looks takes no lock: others who look at the same moment would take it for a sign of life.
_IS_HELD = """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
    AND granted AND mode = 'ShareLock' AND ((classid::bigint << 32) | objid::bigint) = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class ProcessLease:
    """This process's sign of life.

    Args:
        database: where it is given.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sign = _Sign(database)

    @property
    def id(self) -> str:
        """The id that goes with it."""
        return self._sign.id

    def hold(self) -> str:
        """Give the sign of life from now on, again where it was lost; the id that goes with it."""
        return self._sign.give()

    def release(self) -> None:
        """End the sign of life; a later one has another id."""
        given, self._sign = self._sign, _Sign(self._database)
        given.withdraw()


class _Sign:
    """One sign of life, from its first giving on.

    Its session may be cut while something that was sent is under way, and no row is written for a
    while. So a thread of its own waits for that, and gives it again.
    """

    def __init__(self, database: Database) -> None:
        self.id = secrets.token_hex(8)
        self._session = DedicatedSession(database)
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def give(self) -> str:
        with self._session.connection() as (connection, is_new):
            if is_new:
                connection.execute(_HOLD, (_key(self.id),))
            if self._keeper.ident is None:
                self._keeper.start()
        return self.id

    def withdraw(self) -> None:
        self._over.set()
        self._session.abandon()

    def _keep(self) -> None:
        while not self._over.is_set():
            if self._session.is_quiet(_SECONDS_OF_A_LOOK):
                continue
            with suppress(psycopg.Error):
                self.give()
                continue
            self._over.wait(_RETRY_INTERVAL_SECONDS)


def is_alive(connection: Connection, owner: str) -> bool:
    """Whether the process with this id is alive; one whose id is not ours is not."""
    if not _ID.fullmatch(owner):
        return False
    row = connection.execute(_IS_HELD, (_key(owner),)).fetchone()
    return row is not None and bool(row[0])


def _key(owner: str) -> int:
    return int.from_bytes(bytes.fromhex(owner), signed=True)
