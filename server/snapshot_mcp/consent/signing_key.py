"""The key that signs plan tokens: from the environment, or created once in the data folder."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.settings.environment import KEY_FILE, Settings

_KEY_BYTES = 32


def build_key_loader(settings: Settings) -> Callable[[], bytes]:
    """Return a function that returns the key from the environment or from the data folder.

    Machines that share a key accept each other's plan tokens and questions.
    """
    key = settings.signing_key
    if key is not None:
        return key.get_secret_value
    return lambda: load_key(settings.data_folder())


def load_key(folder: Path) -> bytes:
    """Return the signing key of this data folder; create it at the first use.

    Raises:
        LedgerError: the file cannot be read or written, or holds something else.
    """
    path = folder / KEY_FILE
    try:
        if not path.exists():
            _create(path)
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise LedgerError(
            f"The signing key of plans cannot be used ({type(error).__name__}).",
            f"Nothing was sent. Check the file {KEY_FILE} in the data folder; deleting it is safe"
            " and only invalidates the open plans.",
        ) from error
    if len(key) != _KEY_BYTES:
        raise LedgerError(
            "The signing key of plans has the wrong length.",
            f"Nothing was sent. Delete the file {KEY_FILE} in the data folder: a new one is"
            " created.",
        )
    return key


def _create(path: Path) -> None:
    """Write a complete new key file; if two processes do so, the first file is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            draft.replace(path)
            return
    finally:
        draft.unlink(missing_ok=True)
