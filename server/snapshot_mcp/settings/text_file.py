"""Read a text file that a setting names, as any editor may have written it."""

import codecs
import stat
from pathlib import Path

from snapshot_mcp.core.errors import ConfigurationError

MAX_FILE_BYTES = 64 * 1024


def read_text_file(setting: str, path: Path) -> str:
    """Return the text of a file, in UTF-8 or, as Windows PowerShell writes it, in UTF-16.

    Args:
        setting: name of the setting, for the message.
        path: the file; a byte order mark in it is skipped.

    Raises:
        ConfigurationError: it does not exist, cannot be read, is too large, or is not text.
    """
    return decode_text(setting, _read_bytes(setting, path))


def decode_text(setting: str, content: bytes) -> str:
    """Return the text in the content of a file, as `read_text_file` does.

    Raises:
        ConfigurationError: it is not text.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{setting}: line {line} is not UTF-8 text.") from None


def _read_bytes(setting: str, path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block
            raise ConfigurationError(f"{setting}: it is not a file.")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigurationError(f"{setting}: there is no such file.") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{setting}: the file cannot be read ({type(error).__name__})."
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{setting}: the file is larger than {MAX_FILE_BYTES // 1024} KiB."
        )
    return content
