"""The key that signs plan tokens and protects the ledger.

It comes from the environment, from a file that the settings name, or from a file in the data
folder that is created at the first use.
"""

import os
import string
from pathlib import Path

from pydantic import SecretBytes

from snapshot_mcp.core.errors import NOTHING_CHANGED, ConfigurationError, LedgerError
from snapshot_mcp.core.private_files import (
    ExposedFileError,
    create_private_file,
    create_private_folder,
    read_secret_file,
)
from snapshot_mcp.settings.text_file import decode_text
from snapshot_mcp.settings.validation import parse_signing_key

KEY_FILE = "plan.key"
_KEY_BYTES = 32
_REPLACE = (
    "If it is lost, remove the file: the next change creates another key, and says how to"
    " continue the ledger with it."
)


class SigningKey:
    """The signing key of one server. Machines that share a key accept each other's plans.

    Args:
        value: the key in the settings; None to use the file in the data folder.
        folder: the data folder.
    """

    def __init__(self, value: SecretBytes | None, folder: Path) -> None:
        self._value = value
        self._folder = folder

    def load(self) -> bytes:
        """Return the key; create it in the data folder at the first use.

        Raises:
            LedgerError: the file cannot be read, written or trusted, or holds something else.
        """
        return load_key(self._folder) if self._value is None else self._value.get_secret_value()

    def find(self) -> bytes | None:
        """Return the key; None if there is none yet. Nothing is created.

        Raises:
            LedgerError: as `load`.
        """
        if self._value is None and not (self._folder / KEY_FILE).exists():
            return None
        return self.load()


def load_key(folder: Path) -> bytes:
    """Return the signing key of this data folder; create it at the first use.

    Raises:
        LedgerError: the file cannot be read, written or trusted, or holds something else.
    """
    path = folder / KEY_FILE
    try:
        if not path.exists():
            create_private_folder(folder)
            create_private_file(path, os.urandom(_KEY_BYTES).hex().encode())
        key = bytes.fromhex(read_secret_file(path, mounted=False).decode("ascii"))
    except ExposedFileError as error:
        raise LedgerError(
            f"The signing key of plans cannot be trusted: {KEY_FILE} in the data folder is not"
            f" private, {error}.",
            f"{NOTHING_CHANGED} If only you had access, make it a file of your own with mode 600"
            " (chmod 600). Otherwise replace the key (docs/security.md, The signing key).",
        ) from error
    except (OSError, ValueError) as error:
        raise LedgerError(
            f"The signing key of plans cannot be used ({type(error).__name__}).",
            f"{NOTHING_CHANGED} Check the file {KEY_FILE} in the data folder. {_REPLACE}",
        ) from error
    if len(key) != _KEY_BYTES:
        raise LedgerError(
            "The signing key of plans has the wrong length.",
            f"{NOTHING_CHANGED} Restore the file {KEY_FILE} in the data folder. {_REPLACE}",
        )
    return key


def read_key_file(name: str, path: Path) -> SecretBytes:
    """Return the signing key in the file that a setting names.

    The file has the format of `plan.key`, or that of SNAPSHOT_MCP_SIGNING_KEY.

    Args:
        name: the name of the setting.
        path: the file.

    Raises:
        ConfigurationError: the file cannot be read or trusted, or holds something else.
    """
    try:
        text = decode_text(name, read_secret_file(path, mounted=True)).strip()
    except ExposedFileError as error:
        raise ConfigurationError(
            f"{name}: the file cannot be trusted: {error}.",
            "Make it readable by its owner, or by its owner and group, and writable by its owner"
            " only (chmod 600 or 640; in Kubernetes, defaultMode: 0440).",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{name}: the file cannot be read ({type(error).__name__}).",
            f"Move {KEY_FILE} there from the data folder, or create it with: openssl rand -hex 32",
        ) from error
    if not set(text) <= set(string.hexdigits):
        return parse_signing_key(name, text)
    if len(text) != 2 * _KEY_BYTES:
        raise ConfigurationError(
            f"{name}: the file must contain {2 * _KEY_BYTES} hexadecimal digits, or at least"
            f" {_KEY_BYTES} bytes in base64url (they are not shown here).",
            "Create it with: openssl rand -hex 32",
        )
    return SecretBytes(bytes.fromhex(text))
