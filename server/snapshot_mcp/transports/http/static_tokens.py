"""Static bearer tokens, for a team without an issuer: one in the environment, or several in a file.

A line of the file is a token, or a name, a token and its scopes:

    alice  6b1f...  snapshots:read snapshots:write

A token without scopes has all of them. A line that starts with # is a comment.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.raw_values import check_secret
from snapshot_mcp.settings.text_file import read_text_file
from snapshot_mcp.settings.validation import validate_api_key
from snapshot_mcp.transports.http.scopes import SCOPES

MIN_TOKEN_LENGTH = 32
UNNAMED_PRINCIPAL = "bearer"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_GENERATE_HINT = "Generate a token with: openssl rand -hex 32"


class StaticToken(NamedTuple):
    """A static token and the principal who presents it.

    Attributes:
        principal: the principal.
        digest: SHA-256 of the token; the token itself is not kept.
        scopes: the scopes of the token.
    """

    principal: str
    digest: bytes
    scopes: frozenset[str]


def parse_static_token(
    setting: str, token: str, *, principal: str, scopes: Iterable[str] = SCOPES
) -> StaticToken:
    """Return the static token for a secret.

    Args:
        setting: the name of the setting with the token.
        token: the secret.
        principal: the principal who presents it.
        scopes: the scopes of the token.

    Raises:
        ConfigurationError: The token is too short to be a secret, or cannot be sent in a header.
    """
    check_secret(setting, token)
    if len(validate_api_key(setting, token)) < MIN_TOKEN_LENGTH:
        raise ConfigurationError(
            f"{setting} holds a token of fewer than {MIN_TOKEN_LENGTH} characters"
            " (it is not shown here).",
            _GENERATE_HINT,
        )
    return StaticToken(principal, _digest(token), frozenset(scopes))


def read_static_tokens(setting: str, path: Path) -> tuple[StaticToken, ...]:
    """Return the static tokens in a file.

    Args:
        setting: the name of the setting with the path.
        path: the file.

    Raises:
        ConfigurationError: The file or one of its lines is not valid. The message names the line
            but does not quote it.
    """
    lines = read_text_file(setting, path).splitlines()
    tokens = tuple(
        _parse_line(f"{setting}, line {number},", words)
        for number, words in ((number, line.split()) for number, line in enumerate(lines, start=1))
        if words and not words[0].startswith("#")
    )
    if not tokens:
        raise ConfigurationError(f"{setting}: the file contains no token.", _GENERATE_HINT)
    principals, digests = {token.principal for token in tokens}, {token.digest for token in tokens}
    if len(principals) < len(tokens) or len(digests) < len(tokens):
        raise ConfigurationError(f"{setting}: two lines have the same name or the same token.")
    return tokens


def _parse_line(location: str, words: Sequence[str]) -> StaticToken:
    if len(words) == 1:
        return parse_static_token(location, words[0], principal=UNNAMED_PRINCIPAL)
    name, token, *scopes = words
    if not _NAME.fullmatch(name) or not set(scopes) <= set(SCOPES):
        raise ConfigurationError(
            f"{location} must be a token, or a name, a token and scopes, separated by spaces.",
            f"The scopes are {', '.join(SCOPES)}.",
        )
    principal = f"{UNNAMED_PRINCIPAL}:{name}"
    return parse_static_token(location, token, principal=principal, scopes=scopes or SCOPES)


def find_static_token(token: str, static_tokens: Iterable[StaticToken]) -> StaticToken | None:
    """Return the entry for `token`; the time that this takes reveals nothing about it."""
    digest = _digest(token)
    match = None
    for static_token in static_tokens:
        if hmac.compare_digest(static_token.digest, digest):
            match = static_token
    return match


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
