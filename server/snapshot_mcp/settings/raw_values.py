"""Values of settings as people paste them: quotes are removed, unresolved references are rejected.

A reference that a client or shell did not replace, such as `${env:NAME}`, would be sent as the key.
"""

import re

from snapshot_mcp.core.errors import ConfigurationError

_BUNDLE_PLACEHOLDER = "${user_config."
_BYTE_ORDER_MARK = "\ufeff"
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_QUOTE_CHARACTERS = "".join({*_QUOTES, *_QUOTES.values()})
# Patterns are strings: they are compiled for values that may match, not at every start.
_REFERENCE_ANYWHERE = r"\$\{|\$\(|\{\{|(?i:\$env:)|<[^<>]*>"
_MARKED_REFERENCE = r"(?is)\$\w+|%[a-z_]\w*%|!\w+!|[%#]?\{.*\}#?|@@\w+@@|__\w+__|@\w[\w.]*\(.*\)"
_NAMED_REFERENCE = (
    r"(?is)(process\.|os\.)?(env|environ|getenv)[:.\[(].+"
    r"|(secrets?|vault|keyring|keychain|op|arn|file|cmd|ref\+\w+):.+"
)
_PART_REFERENCE = r"\$[A-Z_][A-Z0-9_]*|%[A-Za-z_]\w*%"
_PART_SEPARATOR = r"[\s/\\:@?&=#,;]+"
_PLACEHOLDERS = frozenset(
    {
        *("undefined", "null", "none", "redacted", "hidden", "fillme", "fill-in", "insert-me"),
        *("changeme", "change-me", "change_me", "replaceme", "replace-me", "replace_me"),
    }
)
_PLACEHOLDER_STARTS = ("your", "insert", "enter", "paste")
_FILLERS = frozenset(".*_-\u2022\u2026")
_NAME_STARTS = ("SNAPSHOT_MCP_", "HYPERSTACK_")


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
    if _contains_reference(value):
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
    if _is_placeholder(secret):
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


def _contains_reference(value: str) -> bool:
    if ("$" in value or "{{" in value or "<" in value) and re.search(_REFERENCE_ANYWHERE, value):
        return True
    if value[:1] in {"$", "%", "!", "{", "#", "@", "_"} and re.fullmatch(_MARKED_REFERENCE, value):
        return True
    may_be_named = (value[:1].isalpha() and ":" in value) or "env" in value[:11].lower()
    if may_be_named and re.fullmatch(_NAMED_REFERENCE, value):
        return True
    if "$" in value or "%" in value:
        return any(re.fullmatch(_PART_REFERENCE, part) for part in re.split(_PART_SEPARATOR, value))
    return False


def _is_placeholder(secret: str) -> bool:
    plain = secret.lower()
    start = next((word for word in _PLACEHOLDER_STARTS if plain.startswith(word)), "")
    return bool(secret) and (
        plain in _PLACEHOLDERS
        or "://" in secret
        or _FILLERS.issuperset(secret)
        or (secret[0] + secret[-1]) in {"[]", "()"}
        or secret.upper().startswith(_NAME_STARTS)
        or (bool(start) and not plain[len(start) : len(start) + 1].isalnum())
    )
