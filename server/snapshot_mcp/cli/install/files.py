"""Read a configuration file and replace it atomically, with a backup of the old version."""

import codecs
import glob
import os
import stat
import sys
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError

_BOM = codecs.BOM_UTF8.decode()
_PRIVATE = 0o600


def read_configuration(path: Path) -> str | None:
    """Return the text of the file with its line endings; None if the file does not exist.

    Raises:
        RefusedError: the file cannot be read, or is not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block
            raise RefusedError(f"{path} cannot be read: it is not a file.", NOTHING_CHANGED)
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(
            f"{path} cannot be read ({type(error).__name__}).", NOTHING_CHANGED
        ) from error


def check_inside(project: Path, path: Path) -> None:
    """Check that no symbolic link of a project leads to a file outside of it.

    A repository that someone else wrote must not choose which file is changed.

    Raises:
        RefusedError: the path leads out of the project.
    """
    try:
        is_inside = path.resolve().is_relative_to(project.resolve())
    except (OSError, RuntimeError):  # a loop of links
        is_inside = False
    if not is_inside:
        raise RefusedError(
            f"{path} leads outside of the project through a symbolic link.",
            f"{NOTHING_CHANGED} Replace the link, or run the command in the other folder.",
        )


def split_bom(text: str) -> tuple[str, str]:
    """Return the byte order mark, which some editors add, and the text after it."""
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)


def replace_configuration(
    path: Path,
    before: str | None,
    after: str,
    now: datetime,
    *,
    private: bool = False,
    backup_text: str | None = None,
) -> Path | None:
    """Replace the text of the file atomically. Its owner and, unless private, its mode stay.

    Args:
        path: the file; of a symbolic link, the target is replaced.
        before: the text that was read; None if the file did not exist.
        after: the new text.
        now: becomes part of the backup's name.
        private: whether to withdraw all access of other users, because the file contains a key.
        backup_text: the text of the backup; by default `before`. Only its owner can read it.

    Returns:
        The path of the backup; None if the file did not exist.

    Raises:
        RefusedError: the file no longer contains `before`, or it cannot be written.
    """
    try:
        target = path.resolve()
        _create_folder(target.parent)
        if read_configuration(target) != before:
            raise RefusedError(
                f"{path} was changed by another program in the meantime.",
                f"{NOTHING_CHANGED} Close the client and try again.",
            )
        backup = None
        if before is not None:
            backup = target.with_name(f"{target.name}.{now:%Y%m%dT%H%M%S%f}.backup")
            _write(backup, before if backup_text is None else backup_text, like=target, mode=0o600)
        _write(target, after, like=target, mode=_PRIVATE if private else None)
    except (OSError, RuntimeError) as error:
        raise RefusedError(
            f"{path} cannot be written ({type(error).__name__}).", NOTHING_CHANGED
        ) from error
    return backup


def rewrite_backup(backup: Path, text: str) -> None:
    """Replace the text of a backup; only its owner can read it.

    Raises:
        OSError: it cannot be written.
    """
    _write(backup, text, like=backup, mode=_PRIVATE)


def restrict_backups(path: Path) -> None:
    """Withdraw all access of other users to the backups of a configuration: they contain keys."""
    for backup in backups(path):
        if is_readable_by_others(backup):
            with suppress(OSError):  # it belongs to another user
                backup.chmod(_PRIVATE)


def backups(path: Path) -> list[Path]:
    """Return the backups of a configuration, except symbolic links."""
    target = path.resolve()
    found = sorted(target.parent.glob(f"{glob.escape(target.name)}.*.backup"))
    return [backup for backup in found if backup.is_file() and not backup.is_symlink()]


def is_readable_by_others(path: Path) -> bool:
    """Return whether other users of this machine can read the file."""
    return sys.platform != "win32" and bool(path.stat().st_mode & 0o077)


def _write(target: Path, text: str, *, like: Path, mode: int | None) -> None:
    """Write a file atomically, with the owner of `like` and, without a mode, with its mode."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        existing = like if like.exists() else like.parent
        _copy_owner(existing, temporary)
        if existing == like:  # a new file stays readable only by its owner
            allowed = stat.S_IMODE(like.stat().st_mode)
            temporary.chmod(allowed if mode is None else allowed & mode | 0o400)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _create_folder(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for created in reversed(missing):
        _copy_owner(created.parent, created)


def _copy_owner(source: Path, target: Path) -> None:
    """Give `target` the owner of `source`: an administrator may configure another user's client.

    Raises:
        PermissionError: this user may not do that.
    """
    if sys.platform == "win32":
        return
    wanted, present = source.stat(), target.stat()
    if wanted.st_uid != present.st_uid:
        os.chown(target, wanted.st_uid, wanted.st_gid)
    elif wanted.st_gid != present.st_gid:
        with suppress(PermissionError):  # a group of which this user is not a member
            os.chown(target, -1, wanted.st_gid)
