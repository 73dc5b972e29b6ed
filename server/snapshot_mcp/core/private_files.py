"""Files and folders that only their owner can use.

This module sets and checks the POSIX permissions of the server's own files. Those of clients'
configurations, which keep their owners, are in `cli/install/files.py`. On Windows it does neither:
access there depends on access lists, which a folder in a user's profile inherits.
"""

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")
_MAX_SECRET_BYTES = 10_000


class ExposedFileError(Exception):
    """A secret in a file cannot be trusted; the message is a clause about the file."""


def create_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents with mode 700, independent of the umask.

    An existing folder is left as it is.

    Raises:
        OSError: it cannot be created.
    """
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        create_private_folder(folder.parent)
    try:
        folder.mkdir(_PRIVATE_FOLDER)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        if sys.platform != "win32":
            folder.chmod(_PRIVATE_FOLDER)


def create_private_database(path: Path) -> None:
    """Create an empty SQLite database with mode 600, unless it exists; then make it private.

    SQLite gives its other files (`-wal`, `-shm`, `-journal`) the mode of the database. The database
    itself is never opened here: closing it would release the locks that SQLite holds on it in this
    process.

    Raises:
        OSError: it cannot be created.
    """
    if sys.platform == "win32":
        return
    if os.path.lexists(path):
        for suffix in _SQLITE_SUFFIXES:
            _make_private(path.with_name(path.name + suffix))
    else:
        create_private_file(path, b"")


def create_private_file(path: Path, content: bytes) -> None:
    """Create a complete file with mode 600, independent of the umask, unless it exists.

    Raises:
        OSError: it cannot be created.
    """
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        _write_new(draft, content)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if content:
                draft.replace(path)
                return
            with suppress(FileExistsError):
                _write_new(path, content)
    finally:
        draft.unlink(missing_ok=True)


def read_secret_file(path: Path, *, mounted: bool) -> bytes:
    """Read a file with a secret, after checking that only its owner can write and read it.

    Args:
        path: the file.
        mounted: accept what containers mount as a secret: a symbolic link, a file of root, and a
            file that its group can read, but not write.

    Raises:
        ExposedFileError: another user can write or read it.
        OSError: it cannot be read.
    """
    if not mounted and path.is_symlink():
        raise ExposedFileError("it is a symbolic link")
    follow = 0 if mounted else getattr(os, "O_NOFOLLOW", 0)

    def open_without_waiting(name: str, flags: int) -> int:
        # Opening a pipe would wait for its writer.
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0) | follow)

    with open(path, "rb", opener=open_without_waiting) as file:
        if reason := find_exposure(os.fstat(file.fileno()), mounted=mounted):
            raise ExposedFileError(reason)
        return file.read(_MAX_SECRET_BYTES)


def find_exposure(status: os.stat_result, *, mounted: bool = False) -> str:
    """Return why a file or folder is not private, as a clause; empty if it is private.

    Args:
        status: its status.
        mounted: as in `read_secret_file`.
    """
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return "it is not a regular file"
    if sys.platform == "win32":
        return ""
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid() and not (mounted and status.st_uid == 0):
        return "it belongs to another user"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"other users can write it (mode {mode:o})"
    if mode & (stat.S_IRWXO if mounted else _GROUP_AND_OTHERS):
        return f"other users can read it (mode {mode:o})"
    return ""


def _make_private(path: Path) -> None:
    with suppress(OSError):  # it does not exist, or belongs to another user; doctor reports it
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & _GROUP_AND_OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_GROUP_AND_OTHERS)


def _write_new(path: Path, content: bytes) -> None:
    handle = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _PRIVATE_FILE
    )
    with os.fdopen(handle, "wb") as file:
        if sys.platform != "win32":
            os.fchmod(handle, _PRIVATE_FILE)
        if content:
            file.write(content)
            file.flush()
            os.fsync(handle)
