"""Liveness of server processes on one machine, without process ids, on every platform.

Each process locks a small SQLite file of its own. The operating system releases the lock when the
process ends, also after a crash or a kill.
"""

import re
import secrets
import sqlite3
import threading
import weakref
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from snapshot_mcp.core.private_files import create_private_database, create_private_folder

if TYPE_CHECKING:
    from collections.abc import Callable

_OWNER_ID = re.compile(r"[0-9a-f]{16}")
_LOCK_TIMEOUT_SECONDS = 5.0


class ProcessLock:
    """The lock that shows that this process is alive.

    Within this process, only SQLite may open the locked file: on POSIX systems, closing any other
    handle of the file releases the lock.

    Args:
        folder: folder of the lock files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._release: Callable[[], object] | None = None
        self.id = secrets.token_hex(8)

    def hold(self) -> str:
        """Lock the file, unless it is locked already, and return the owner id."""
        with self._guard:
            if self._release is None:
                create_private_folder(self._folder)
                file = self._folder / f"{self.id}.db"
                create_private_database(file)
                connection = _connect(file, "rwc", _LOCK_TIMEOUT_SECONDS)
                release = weakref.finalize(self, _close_and_remove, connection, file)
                try:
                    connection.execute("BEGIN EXCLUSIVE")
                except BaseException:
                    release()
                    raise
                self._release = release
            return self.id

    def release(self) -> None:
        """Release the lock; the next `hold` uses a new owner id."""
        with self._guard:
            if self._release is not None:
                self._release()
                self._release = None
                self.id = secrets.token_hex(8)

    def is_alive(self, owner: str) -> bool:
        """Return whether the process with this owner id holds its lock."""
        if not _OWNER_ID.fullmatch(owner):
            return False
        file = self._folder / f"{owner}.db"
        try:
            # Take a shared lock: another process that checks would mistake an exclusive one for the
            # lock of the owner.
            with closing(_connect(file, "rw", 0)) as connection:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return True
            if file.exists():
                raise
        return False

    def remove_stale_files(self, owners: set[str]) -> None:
        """Remove the files of those `owners` that are dead.

        Pass only owners that have sent something: another process may have created its file and
        not locked it yet.
        """
        for file in self._folder.glob("*.db"):
            if file.stem in owners and not self.is_alive(file.stem):
                with suppress(OSError):
                    file.unlink()


def _close_and_remove(connection: sqlite3.Connection, file: Path) -> None:
    connection.close()
    with suppress(OSError):  # another process has it open; the next `unsettled` removes it
        file.unlink()


def _connect(file: Path, mode: str, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,  # worker threads vary; `_guard` keeps them apart
    )
