"""The ledgers that tests are run against: each keeps the rows of a folder somewhere else."""

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
        """The ledger that belongs to `folder`, as another process would open it."""
        ...

    def program_arguments(self, folder: Path) -> tuple[str, str]:
        """What tells a program with `OPEN_LEDGER_PROGRAM` which one to open."""
        ...

    def settings(self, folder: Path) -> dict[str, str]:
        """What makes a server that has `folder` as its data folder use it."""
        ...

    def owners(self, folder: Path) -> list[str]:
        """The ids of the processes that are known as alive, or not yet as gone."""
        ...


def owner_files(folder: Path) -> list[str]:
    """The ids of the processes that give a sign of life in a file."""
    return sorted(file.stem for file in (folder / "owners").glob("*.db"))


class FileLedgers:
    """Ledgers in files."""

    def open(self, folder: Path, now: Callable[[], datetime] = lambda: NOW) -> Ledger:
        return open_sqlite_ledger(folder / LEDGER_FILE, now)

    def program_arguments(self, folder: Path) -> tuple[str, str]:
        return str(folder), ""

    def settings(self, folder: Path) -> dict[str, str]:  # noqa: ARG002 - it is there
        return {}

    def owners(self, folder: Path) -> list[str]:
        return owner_files(folder)


class DatabaseLedgers:
    """Ledgers in PostgreSQL: a database a folder."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._names: dict[Path, str] = {}

    def name(self, folder: Path) -> str:
        if folder not in self._names:
            self._names[folder] = f"ledger_{secrets.token_hex(8)}"
            self._server.make(self._names[folder])
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
        # An id of 64 bits stands in two columns, and two words mark the other locks.
        query = """SELECT
            lpad(to_hex(classid::bigint), 8, '0') || lpad(to_hex(objid::bigint), 8, '0')
            FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 ORDER BY 1"""
        with psycopg.connect(self.url(folder)) as connection:
            return [owner for (owner,) in connection.execute(query).fetchall()]
