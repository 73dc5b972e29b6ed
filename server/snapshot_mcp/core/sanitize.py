"""Sanitize untrusted text before it is shown.

Names, descriptions and labels are written by anyone with access to the cloud account. A reader,
person or model, must not mistake one name for another, or miss a part of the text. Text is
sanitized where it enters (`cloud/field_readers.py`); the rest of the server holds clean text only.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from snapshot_mcp.core.markup import disarm, report_markup

MAX_NAME_LENGTH = 100
"""Limit of a name that is shown; the cloud's own limit is 50 characters."""

MAX_DESCRIPTION_LENGTH = 300
"""Limit of a description or other text that is shown."""

REPLACEMENT = "\ufffd"
"""Replaces a byte that is not UTF-8; without it, two different names could look the same."""

# Blank or invisible letters and marks that are not in a format category of Unicode.
_INVISIBLE = frozenset(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    )
)
_REMOVED_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cn"})
_BLANK_CATEGORIES = frozenset({"Zs", "Zl", "Zp"})
_MAX_CONSECUTIVE_MARKS = 4
_CONFUSABLE_SCRIPTS = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "FULLWIDTH", "MATHEMATICAL"}
)
_CACHE_SIZE = 1_024  # few different characters occur
_PLAIN_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class SanitizedText(NamedTuple):
    """Text that is safe to show, and whether it differs from the original."""

    text: str
    altered: bool


def sanitize(text: str, max_length: int = MAX_DESCRIPTION_LENGTH) -> SanitizedText:
    """Normalize to NFC, remove what hides or reorders text, and truncate to `max_length`.

    Line breaks and unusual spaces become spaces, so no text can start a new line.
    """
    if is_plain_ascii(text, max_length):
        return SanitizedText(text, altered=False)
    # Truncate first: a hostile text may be megabytes long, and NFC is slow.
    head = unicodedata.normalize("NFC", text[: max_length * 4])
    visible = _limit_mark_runs("".join(map(_sanitize_character, head))).strip()
    # Normalize again: a removed character may have separated a letter from its accent.
    cleaned = unicodedata.normalize("NFC", visible)
    if len(cleaned) > max_length:
        cleaned = cleaned[: max_length - 1].rstrip() + "…"
    return SanitizedText(cleaned, altered=cleaned != text)


def is_plain_ascii(text: str, max_length: int) -> bool:
    """Return True if `text` needs no sanitizing. A fast check that accepts most real text."""
    if not (text.isascii() and text.isprintable() and len(text) <= max_length):
        return False
    return text[:1] != " " and text[-1:] != " "


def is_sanitized(text: str, max_length: int = MAX_DESCRIPTION_LENGTH) -> bool:
    """Return whether `sanitize` would not alter `text`. All text sent to the cloud passes this."""
    return sanitize(text, max_length) == SanitizedText(text, altered=False)


def mixes_scripts(text: str) -> bool:
    """Return whether `text` mixes letters of several alphabets, as an imitation of a name does.

    People do not notice a Cyrillic or Greek letter among Latin ones.
    """
    letters = filter(str.isalpha, text)
    alphabets = {unicodedata.name(letter, "").partition(" ")[0] for letter in letters}
    return len(alphabets & _CONFUSABLE_SCRIPTS) > 1


def quoted(text: str) -> str:
    """Return `text` in quotation marks, escaped so that it cannot end them, and disarmed."""
    exact = quoted_exactly(text)
    disarmed = disarm(exact)
    if disarmed != exact:
        report_markup(disarmed)
    return disarmed


def contains_markup(text: str) -> bool:
    """Return whether `quoted` shows `text` disarmed."""
    exact = quoted_exactly(text)
    return disarm(exact) != exact


def quoted_exactly(text: str) -> str:
    """Return `text` in quotation marks for a terminal or a comparison: its markup stays."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_plain_word(text: str) -> bool:
    """Return whether `text` is a single word that needs no quotation marks."""
    return _PLAIN_WORD.fullmatch(text) is not None and not contains_markup(text)


def quote_unless_word(text: str) -> str:
    """Return a single plain word as it is, and any other text in quotation marks."""
    return text if is_plain_word(text) else quoted(text)


def cell_text(text: object) -> str:
    """Return text for a table cell, or an unquoted question mark if there is none."""
    if type(text) is int:
        return str(text)  # most cells are numbers, which need no quotation marks
    return "?" if text is None or text == "" else quote_unless_word(str(text))


@lru_cache(_CACHE_SIZE)
def _sanitize_character(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category in _BLANK_CATEGORIES:
        return " "
    if category == "Cs":
        return REPLACEMENT
    if category in _REMOVED_CATEGORIES or ord(character) in _INVISIBLE:
        return ""
    return character


@lru_cache(_CACHE_SIZE)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _limit_mark_runs(text: str) -> str:
    if not any(map(_is_mark, text)):
        return text
    # Dozens of marks on one letter would cover the lines around it.
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if _is_mark(character) else 0
        if run <= _MAX_CONSECUTIVE_MARKS:
            kept.append(character)
    return "".join(kept)
