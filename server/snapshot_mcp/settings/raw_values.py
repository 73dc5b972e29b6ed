"""Values of settings as people paste them: quotes are removed, unresolved references are rejected.

A reference that a client or shell did not replace, such as `${env:NAME}`, would be sent as the key.
"""

import re

from snapshot_mcp.core.errors import ConfigurationError

_BUNDLE_PLACEHOLDER = "${user_config."
_BYTE_ORDER_MARK = "\ufeff"
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_QUOTE_CHARACTERS = "".join({*_QUOTES, *_QUOTES.values()})
_REFERENCE_ANYWHERE = re.compile(r"\$\{|\$\(|\{\{|\$env:|<[^<>]*>", re.IGNORECASE)
_REFERENCE = re.compile(
    r"\$\w+|%[A-Za-z_]\w*%|!\w+!|\{.*\}|%\{.*\}|#\{.*\}#?|@@\w+@@|__\w+__|@\w[\w.]*\(.*\)"
    r"|(process\.|os\.)?(env|environ|getenv)[:.\[(].+"
    r"|(secrets?|vault|keyring|keychain|op|arn|file|cmd|ref\+\w+):.+",
    re.IGNORECASE | re.DOTALL,
)
_PART_REFERENCE = re.compile(r"\$[A-Z_][A-Z0-9_]*|%[A-Za-z_]\w*%")
_PART_SEPARATOR = re.compile(r"[\s/\\:@?&=#,;]+")
_PLACEHOLDER = re.compile(
    r"\[.*\]|\(.*\)|[.*_\u2022\u2026-]+|undefined|null|none|redacted|hidden"
    r"|(your|insert|enter|paste)[\W_].*(key|token|secret|here).*"
    r"|(change|replace|fill|insert)\W?(me|this|in)|\w+://.*"
    r"|(SNAPSHOT_MCP|HYPERSTACK)_\w+(=.*)?",
    re.IGNORECASE | re.DOTALL,
)


def clean_value(value: str) -> str:
    """Return a value without surrounding blanks, quotation marks and byte order mark.

    The placeholder of an empty option in a bundle counts as no value.
    """
    cleaned = value.strip().strip(_BYTE_ORDER_MARK).strip()
    while len(cleaned) > 1 and _QUOTES.get(cleaned[0]) == cleaned[-1]:
        cleaned = cleaned[1:-1].strip()
    return "" if cleaned.startswith(_BUNDLE_PLACEHOLDER) else cleaned


def check_resolved(name: str, value: str) -> None:
    """Check that a value contains no reference that a client or shell should have replaced.

    Args:
        name: name of the setting.
        value: its value, which may be an address or a path; it is not shown.

    Raises:
        ConfigurationError: it contains one.
    """
    if (
        _REFERENCE_ANYWHERE.search(value)
        or _REFERENCE.fullmatch(value)
        or any(map(_PART_REFERENCE.fullmatch, _PART_SEPARATOR.split(value)))
    ):
        raise ConfigurationError(
            f"{name} contains a reference that was not replaced by its value (it is not shown"
            " here). Nothing was sent.",
            "Set the variable that it refers to where this server is started, or set the value"
            " itself.",
        )


def check_secret(name: str, secret: str) -> None:
    """Check that a key or token is not a reference, a placeholder, or cut off at a quote.

    Raises:
        ConfigurationError: it is one of these; the message does not show it.
    """
    check_resolved(name, secret)
    if _PLACEHOLDER.fullmatch(secret):
        raise ConfigurationError(
            f"{name} contains a placeholder instead of a value (it is not shown here). Nothing was"
            " sent.",
            "Set it to the value itself.",
        )
    if secret and (secret[0] in _QUOTE_CHARACTERS or secret[-1] in _QUOTE_CHARACTERS):
        raise ConfigurationError(
            f"{name} begins or ends with a single quotation mark (it is not shown here). Nothing"
            " was sent.",
            "Copy the value again, without quotation marks.",
        )
