"""Static bearer tokens, for a team that has no issuer: one in the environment, or a file of them.

A line of the file is a token by itself, or a name, a token and the scopes that it has:

    alice  6b1f...  snapshots:read snapshots:write

Without scopes it has all. What stands after # at the start of a line is for people.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import validate_api_key
from snapshot_mcp.transports.http.scopes import SCOPES

MIN_TOKEN_LENGTH = 32
UNNAMED_PRINCIPAL = "bearer"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAKE_ONE = "Make one with: openssl rand -hex 32"


class StaticToken(NamedTuple):
    """Whoever presents one token.

    Attributes:
        principal: who that is.
        digest: SHA-256 of the token; the token itself is not kept.
        scopes: what they may.
    """

    principal: str
    digest: bytes
    scopes: frozenset[str]


def parse_static_token(
    name: str, token: str, *, principal: str, scopes: Iterable[str] = SCOPES
) -> StaticToken:
    """The bearer of `token`.

    Args:
        name: of the setting that it stands in.
        token: the secret.
        principal: who presents it.
        scopes: what they may.

    Raises:
        ConfigError: it is too short to be a secret, or no header can carry it.
    """
    if len(validate_api_key(name, token)) < MIN_TOKEN_LENGTH:
        raise ConfigurationError(
            f"{name} holds a token of fewer than {MIN_TOKEN_LENGTH} characters"
            " (it is not shown here).",
            _MAKE_ONE,
        )
    return StaticToken(principal, _digest(token), frozenset(scopes))


def read_static_tokens(name: str, path: Path) -> tuple[StaticToken, ...]:
    """The bearers that a file names.

    Args:
        name: of the setting that names the file.
        path: the file.

    Raises:
        ConfigError: it cannot be read, or one of its lines; the sentence says which, not what.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{name}: the file cannot be read ({type(error).__name__})."
        ) from error
    told = [(number, line.split()) for number, line in enumerate(lines, start=1)]
    found = tuple(
        _of_line(f"{name}, line {number},", words)
        for number, words in told
        if words and not words[0].startswith("#")
    )
    if not found:
        raise ConfigurationError(f"{name}: the file holds no token.", _MAKE_ONE)
    for kind in ({it.principal for it in found}, {it.digest for it in found}):
        if len(kind) < len(found):
            raise ConfigurationError(f"{name}: two lines have the same name or the same token.")
    return found


def _of_line(name: str, words: Sequence[str]) -> StaticToken:
    if len(words) == 1:
        return parse_static_token(name, words[0], principal=UNNAMED_PRINCIPAL)
    who, token, *scopes = words
    if not _NAME.fullmatch(who) or not set(scopes) <= set(SCOPES):
        raise ConfigurationError(
            f"{name} must be a token, or a name, a token and scopes between spaces.",
            f"The scopes are {', '.join(SCOPES)}.",
        )
    principal = f"{UNNAMED_PRINCIPAL}:{who}"
    return parse_static_token(name, token, principal=principal, scopes=scopes or SCOPES)


def find_static_token(token: str, bearers: Iterable[StaticToken]) -> StaticToken | None:
    """Who presents `token`; all are compared, in a time that tells nothing."""
    digest = _digest(token)
    found = None
    for it in bearers:
        if hmac.compare_digest(it.digest, digest):
            found = it
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
