"""Read a configuration file and replace it atomically, with a backup of the old version."""

import codecs
import os
import shutil
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError

_BOM = codecs.BOM_UTF8.decode()


def read_configuration(path: Path) -> str | None:
    """Return the text of the file with its line endings; None if the file does not exist.

    Raises:
        RefusedError: the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(
            f"{path} cannot be read ({type(error).__name__}).", NOTHING_CHANGED
        ) from error


def split_bom(text: str) -> tuple[str, str]:
    """Return the byte order mark, which some editors add, and the text after it."""
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)


def replace_configuration(path: Path, before: str | None, after: str, now: datetime) -> Path | None:
    """Replace the text of the file atomically.

    Args:
        path: the file; of a symbolic link, the target is replaced.
        before: the text that was read; None if the file did not exist.
        after: the new text.
        now: becomes part of the backup's name.

    Returns:
        The path of the backup; None if the file did not exist.

    Raises:
        RefusedError: the file no longer contains `before`, or it cannot be written.
    """
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _write_temporary(target, after)
        try:
            if read_configuration(target) != before:
                raise RefusedError(
                    f"{path} was changed by another program in the meantime.",
                    f"{NOTHING_CHANGED} Close the client and try again.",
                )
            backup = None if before is None else _back_up(target, now)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be written ({type(error).__name__}).", NOTHING_CHANGED
        ) from error
    return backup


def _back_up(target: Path, now: datetime) -> Path:
    backup = target.with_name(f"{target.name}.{now:%Y%m%dT%H%M%S%f}.backup")
    shutil.copy2(target, backup)
    return backup


def _write_temporary(target: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):  # a new file stays readable only by its owner
        shutil.copymode(target, name)
    return Path(name)
