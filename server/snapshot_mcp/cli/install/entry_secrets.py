"""Secret values in our entry: find them, and remove them from the backups of a configuration."""

import glob
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from snapshot_mcp.cli.install.files import backups, read_configuration, rewrite_backup, split_bom
from snapshot_mcp.cli.install.jsonc import Member, parse_object, parse_root, to_strict_json
from snapshot_mcp.core.errors import RefusedError
from snapshot_mcp.settings.reference import SETTINGS

_PUBLIC_NAMES = frozenset(
    name for setting in SETTINGS if not setting.secret for name in setting.names
)
_REFERENCE = re.compile(r"\$\{[^{}]*\}")
_MIN_SECRET_LENGTH = 4
_MAX_FILE_BYTES = 64 * 1024 * 1024


class SecretMember(NamedTuple):
    """A variable in our entry whose value is secret, and its position in the text."""

    name: str
    value: str
    start: int
    end: int


def is_secret(name: str, value: object) -> bool:
    """Return whether a variable holds a secret: any value, except of a setting that is public."""
    if not isinstance(value, str) or not value.strip() or name in _PUBLIC_NAMES:
        return False
    return not _REFERENCE.fullmatch(value)


def find_secrets(text: str, section: str, name: str) -> list[SecretMember]:
    """Return the secret variables of our entry, in the order of the text.

    Raises:
        ValueError: the text is not a JSON object.
    """
    if not text.strip():
        return []
    plain = to_strict_json(text)
    return [
        SecretMember(variable.key, cast("str", variable.value), variable.value_start, variable.end)
        for servers in _members(plain, parse_root(plain).members, section)
        for entry in _members(plain, parse_object(plain, servers.value_start).members, name)
        for variables in _members(plain, parse_object(plain, entry.value_start).members, "env")
        for variable in parse_object(plain, variables.value_start).members
        if is_secret(variable.key, variable.value)
    ]


def _members(plain: str, members: tuple[Member, ...], key: str) -> Iterator[Member]:
    """Yield all members with this key that are objects: JSON may repeat a key."""
    for member in members:
        if member.key == key and plain[member.value_start] == "{":
            yield member


def blank_secrets(text: str, section: str, name: str) -> str:
    """Return the text with empty values in place of the secrets of our entry.

    Raises:
        ValueError: as in `find_secrets`.
    """
    for secret in reversed(find_secrets(text, section, name)):
        text = f'{text[: secret.start]}""{text[secret.end :]}'
    return text


def blank_backups(path: Path, section: str, name: str) -> tuple[int, set[str]]:
    """Remove the secrets of our entry from all backups of a configuration.

    Returns:
        The number of backups that were changed, and the secrets that were found in them.
    """
    changed, found = 0, set[str]()
    for backup in backups(path):
        try:
            bom, text = split_bom(read_configuration(backup) or "")
            secrets = {secret.value for secret in find_secrets(text, section, name)}
            if secrets:
                rewrite_backup(backup, bom + blank_secrets(text, section, name))
                changed += 1
                found |= secrets
        except (OSError, ValueError, RefusedError):
            continue  # `files_with` reports it if it contains a secret that was found elsewhere
    return changed, found


def files_with(path: Path, secrets: set[str]) -> list[Path]:
    """Return the configuration and the files named after it that still contain a secret."""
    target = path.resolve()
    # Anything may contain a text of a few letters.
    secrets = {secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH}
    found: list[Path] = []
    for file in sorted(target.parent.glob(f"{glob.escape(target.name)}*")):
        try:
            if file.is_file() and file.stat().st_size <= _MAX_FILE_BYTES:
                content = file.read_bytes()
                if any(form in content for secret in secrets for form in _forms(secret)):
                    found.append(file)
        except OSError:
            continue
    return found


def _forms(secret: str) -> tuple[bytes, ...]:
    """Return a secret as it is, and as JSON may contain it."""
    escaped = (json.dumps(secret, ensure_ascii=ascii_only) for ascii_only in (True, False))
    return (secret.encode(), *(text[1:-1].encode() for text in escaped))
