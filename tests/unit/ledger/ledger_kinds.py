"""The kinds of ledgers that tests run against: SQLite files and PostgreSQL databases."""

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psycopg
from pydantic import SecretStr

from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from tests.postgres.server import Server

NOW = datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)
OPEN_LEDGER_PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pydantic import SecretStr
from snapshot_mcp.ledger.backend import open_ledger_backend

def open_ledger():
    url = SecretStr(sys.argv[2]) if sys.argv[2] else None
    return open_ledger_backend(Path(sys.argv[1]), url, lambda: datetime.now(UTC))
"""


class LedgerKind(Protocol):
    """One kind of ledger."""

    def open(self, folder: Path, now: Callable[[], datetime] = ...) -> Ledger:
        """Open the ledger that belongs to `folder`, as a new process would."""
        ...

    def program_arguments(self, folder: Path) -> tuple[str, str]:
        """Return the arguments with which `OPEN_LEDGER_PROGRAM` opens the ledger."""
        ...

    def settings(self, folder: Path) -> dict[str, str]:
        """Return the settings with which a server uses the ledger of this data folder."""
        ...

    def owners(self, folder: Path) -> list[str]:
        """Return the owner ids of processes that are alive or not yet known to be dead."""
        ...


def owner_files(folder: Path) -> list[str]:
    """Return the owner ids that have a lock file."""
    return sorted(file.stem for file in (folder / "owners").glob("*.db"))


class FileLedgers:
    """Ledgers in files."""

    def open(self, folder: Path, now: Callable[[], datetime] = lambda: NOW) -> Ledger:
        return open_sqlite_ledger(folder / LEDGER_FILE, now)

    def program_arguments(self, folder: Path) -> tuple[str, str]:
        return str(folder), ""

    def settings(self, folder: Path) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        return {}

    def owners(self, folder: Path) -> list[str]:
        return owner_files(folder)


class DatabaseLedgers:
    """Ledgers in PostgreSQL: one database for each folder."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._names: dict[Path, str] = {}

    def name(self, folder: Path) -> str:
        if folder not in self._names:
            self._names[folder] = f"ledger_{secrets.token_hex(8)}"
            self._server.create_database(self._names[folder])
        return self._names[folder]

    def url(self, folder: Path) -> str:
        return self._server.url(self.name(folder))

    def open(self, folder: Path, now: Callable[[], datetime] = lambda: NOW) -> Ledger:
        url = SecretStr(self.url(folder))
        return self._stack.enter_context(open_ledger_backend(folder, url, now)).ledger

    def program_arguments(self, folder: Path) -> tuple[str, str]:
        return str(folder), self.url(folder)

    def settings(self, folder: Path) -> dict[str, str]:
        return {"SNAPSHOT_MCP_DATABASE_URL": self.url(folder)}

    def owners(self, folder: Path) -> list[str]:
        # A 64-bit id is split into two columns; locks with two keys are other locks.
        query = """SELECT
            lpad(to_hex(classid::bigint), 8, '0') || lpad(to_hex(objid::bigint), 8, '0')
            FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            ORDER BY 1"""
        with psycopg.connect(self.url(folder)) as connection:
            return [owner for (owner,) in connection.execute(query).fetchall()]
