"""Text that other people wrote, made safe to show.

Names, descriptions and labels come from whoever can reach the cloud account. A reader, person or
model, must not be able to take one for another name, nor see less of it than is there. So it is
cleaned where it enters (`cloud/wire.py`), and everything inside holds clean text only.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

MAX_NAME_LENGTH = 100
"""Longest name that is shown; the cloud's own limit is 50 characters."""

MAX_DESCRIPTION_LENGTH = 300
"""Longest description or other text that is shown."""

# Blank or invisible letters and marks that Unicode does not file under format characters.
_INVISIBLE = frozenset(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    )
)
_REMOVED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_BLANK_CATEGORIES = frozenset({"Zs", "Zl", "Zp"})
_MAX_CONSECUTIVE_MARKS = 4
_CONFUSABLE_SCRIPTS = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "FULLWIDTH", "MATHEMATICAL"}
)
_CACHE_SIZE = 1_024  # a text has few characters that differ
_PLAIN_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class SanitizedText(NamedTuple):
    """Text as it may be shown, and whether that differs from what was written."""

    text: str
    altered: bool


def sanitize(text: str, max_length: int = MAX_DESCRIPTION_LENGTH) -> SanitizedText:
    """Normalise to NFC, remove what hides or reorders text, and cut to `cap` characters.

    Line breaks and unusual spaces become spaces, so that no text can begin a line of its own.
    """
    if is_plain_ascii(text, max_length):
        return SanitizedText(text, altered=False)
    # Cut first: a hostile text may be megabytes long and NFC is not free.
    head = unicodedata.normalize("NFC", text[: max_length * 4])
    visible = _limit_mark_runs("".join(map(_sanitize_character, head))).strip()
    # What was removed may have stood between a letter and its accent.
    cleaned = unicodedata.normalize("NFC", visible)
    if len(cleaned) > max_length:
        cleaned = cleaned[: max_length - 1].rstrip() + "…"
    return SanitizedText(cleaned, altered=cleaned != text)


def is_plain_ascii(text: str, max_length: int) -> bool:
    """Whether a quick look tells that `text` is shown as it is written, as most texts are."""
    if not (text.isascii() and text.isprintable() and len(text) <= max_length):
        return False
    return text[:1] != " " and text[-1:] != " "


def is_sanitized(text: str, max_length: int = MAX_DESCRIPTION_LENGTH) -> bool:
    """Whether `text` would be shown exactly as it is written; so is all that we send."""
    return sanitize(text, max_length) == SanitizedText(text, altered=False)


def mixes_scripts(text: str) -> bool:
    """Whether it has letters of several alphabets, as a name that imitates another one has.

    A Cyrillic or Greek letter among Latin ones is not seen by a person.
    """
    alphabets = {unicodedata.name(it, "").partition(" ")[0] for it in text if it.isalpha()}
    return len(alphabets & _CONFUSABLE_SCRIPTS) > 1


def quoted(text: str) -> str:
    """Text in quotation marks of which it cannot break out."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote_unless_word(text: str) -> str:
    """Text for a column: one plain word as it is, anything else in quotation marks."""
    return text if _PLAIN_WORD.fullmatch(text) else quoted(text)


def cell_text(text: object) -> str:
    """Text for a column, or a question mark of ours when there is none."""
    if type(text) is int:
        return str(text)  # a number needs no marks, and most columns are numbers
    return "?" if text is None or text == "" else quote_unless_word(str(text))


@lru_cache(_CACHE_SIZE)
def _sanitize_character(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category in _BLANK_CATEGORIES:
        return " "
    if category in _REMOVED_CATEGORIES or ord(character) in _INVISIBLE:
        return ""
    return character


@lru_cache(_CACHE_SIZE)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _limit_mark_runs(text: str) -> str:
    if not any(map(_is_mark, text)):
        return text
    # Dozens of marks on one letter paint over the lines around it.
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if _is_mark(character) else 0
        if run <= _MAX_CONSECUTIVE_MARKS:
            kept.append(character)
    return "".join(kept)
