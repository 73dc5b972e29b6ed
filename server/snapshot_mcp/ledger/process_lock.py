"""Which server processes are alive, told without process ids, on every platform.

Each holds a lock on a small SQLite file of its own; a crash or a kill lets go of it as well.
"""

import re
import secrets
import sqlite3
import threading
import weakref
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ID = re.compile(r"[0-9a-f]{16}")
_SECONDS_TO_WAIT_FOR_A_LOOK = 5.0


class ProcessLock:
    """This process's sign of life: a lock on a file of its own, which ends with the process.

    Nobody else may open that file in this process but through SQLite: on POSIX systems closing
    any other handle of it would give up the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._release: Callable[[], object] | None = None
        self.id = secrets.token_hex(8)

    def hold(self) -> str:
        """Give the sign of life from now on; the id that goes with it."""
        with self._guard:
            if self._release is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                file = self._folder / f"{self.id}.db"
                connection = _connect(file, "rwc", _SECONDS_TO_WAIT_FOR_A_LOOK)
                release = weakref.finalize(self, _let_go, connection, file)
                try:
                    connection.execute("BEGIN EXCLUSIVE")
                except BaseException:
                    release()
                    raise
                self._release = release
            return self.id

    def release(self) -> None:
        """End the sign of life; a later one has another id."""
        with self._guard:
            if self._release is not None:
                self._release()
                self._release = None
                self.id = secrets.token_hex(8)

    def is_alive(self, owner: str) -> bool:
        """Whether the process with this id is alive; one that left no file is not."""
        if not _ID.fullmatch(owner):
            return False
        file = self._folder / f"{owner}.db"
        try:
            # A reader's lock, so that two who look at once do not take each other for the owner.
            with closing(_connect(file, "rw", 0)) as connection:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return True
            if file.exists():
                raise
        return False

    def remove_stale_files(self, finished: set[str]) -> None:
        """Remove the files of those of `finished` that are gone.

        Only of those known to have sent: another may have made its file and not yet locked it.
        """
        for file in self._folder.glob("*.db"):
            if file.stem in finished and not self.is_alive(file.stem):
                with suppress(OSError):
                    file.unlink()


def _let_go(connection: sqlite3.Connection, file: Path) -> None:
    connection.close()
    with suppress(OSError):  # somebody may be looking at it: then it is tidied up later
        file.unlink()


def _connect(file: Path, mode: str, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,  # worker threads come and go; the owner's guard keeps them apart
    )
