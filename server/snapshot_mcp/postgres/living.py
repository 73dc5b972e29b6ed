"""Which server processes are alive, on whatever machine: each holds a lock of the database.

The database lets go of it when the process's connection ends, and looks every few seconds whether
the machine at its other end is still there.
"""

import re
import secrets

from psycopg import Connection

from snapshot_mcp.postgres.database import Database
from snapshot_mcp.postgres.holding import Session

_ID = re.compile(r"[0-9a-f]{16}")
_HOLD = "SELECT pg_advisory_lock_shared(%s)"
# Whoever looks takes no lock: others who look at the same moment would take it for a sign of life.
_IS_HELD = """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
    AND granted AND mode = 'ShareLock' AND ((classid::bigint << 32) | objid::bigint) = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class Owner:
    """This process's sign of life.

    Args:
        database: where it is given.
    """

    def __init__(self, database: Database) -> None:
        self._session = Session(database)
        self.id = secrets.token_hex(8)

    def hold(self) -> str:
        """Give the sign of life from now on, again where it was lost; the id that goes with it."""
        with self._session.connection() as (connection, is_new):
            if is_new:
                connection.execute(_HOLD, (_key(self.id),))
            return self.id

    def release(self) -> None:
        """End the sign of life; a later one has another id."""
        self._session.close()
        self.id = secrets.token_hex(8)


def lives(connection: Connection, owner: str) -> bool:
    """Whether the process with this id is alive; one whose id is not ours is not."""
    if not _ID.fullmatch(owner):
        return False
    row = connection.execute(_IS_HELD, (_key(owner),)).fetchone()
    return row is not None and bool(row[0])


def _key(owner: str) -> int:
    return int.from_bytes(bytes.fromhex(owner), signed=True)
