"""A configuration file read and replaced, wholly or not at all; what was there is kept beside."""

import codecs
import os
import shutil
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from snapshot_mcp.core.errors import RefusedError

_MARK = codecs.BOM_UTF8.decode()


def read_configuration(path: Path) -> str | None:
    """The text of the file, with its line ends as they are; None where there is no file.

    Raises:
        RefusedError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(
            f"{path} cannot be read ({type(error).__name__}).", "Nothing was changed."
        ) from error


def split_mark(text: str) -> tuple[str, str]:
    """The byte order mark that some editors put first, and the text after it."""
    return (_MARK, text[1:]) if text.startswith(_MARK) else ("", text)


def replace_configuration(path: Path, before: str | None, after: str, now: datetime) -> Path | None:
    """Put `after` in place of `before`, in one step.

    Args:
        path: the file; where it is a link, what it leads to is replaced.
        before: what was read; None for no file.
        after: what to write.
        now: names the copy that is kept.

    Returns:
        The copy of what was there; None for no file.

    Raises:
        RefusedError: somebody else has changed it meanwhile, or it cannot be written.
    """
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(target, after)
        try:
            if read_configuration(target) != before:
                raise RefusedError(
                    f"{path} was changed by somebody else meanwhile.",
                    "Nothing was changed. Close the client, and try again.",
                )
            kept = None if before is None else _copy(target, now)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be written ({type(error).__name__}).", "It is as it was."
        ) from error
    return kept


def _copy(target: Path, now: datetime) -> Path:
    kept = target.with_name(f"{target.name}.{now:%Y%m%dT%H%M%S%f}.backup")
    shutil.copy2(target, kept)
    return kept


def _draft(target: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):  # else it stays readable for its owner alone
        shutil.copymode(target, name)
    return Path(name)
