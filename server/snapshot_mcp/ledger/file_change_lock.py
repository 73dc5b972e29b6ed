"""The change lock of all server processes that share a data folder: one change at a time.

It is the lock of a small SQLite file. The operating system releases it when the process ends, also
after a crash or a kill.
"""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread

from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError
from snapshot_mcp.core.private_files import create_private_database, create_private_folder

_TRY_TIMEOUT_SECONDS = 0.5
"""Short, because a cancelled caller waits for the end of a try."""


class FileChangeLock:
    """The lock on changes.

    Args:
        file: the locked file; it and its folder are created at the first use.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Hold the lock within the block. The caller limits how long to wait for it.

        Raises:
            LedgerError: the file cannot be used.
        """
        while (connection := await to_thread.run_sync(self._try_lock)) is None:
            pass
        try:
            yield
        finally:
            connection.close()

    def _try_lock(self) -> sqlite3.Connection | None:
        try:
            create_private_folder(self._file.parent)
            create_private_database(self._file)
            connection = sqlite3.connect(
                self._file,
                timeout=_TRY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,  # the thread that locks it has ended by then
            )
        except (sqlite3.Error, OSError) as error:
            raise _unusable_error(error) from error
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise _unusable_error(error) from error
        return connection


def _unusable_error(error: Exception) -> LedgerError:
    return LedgerError(
        f"The lock on changes cannot be used ({type(error).__name__}).",
        f"{NOTHING_CHANGED} Check that the data folder exists, has space, and is writable.",
    )
