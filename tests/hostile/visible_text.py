"""Checks of text that contains hostile text: nothing hidden, no extra lines, all of it quoted."""

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import cast

from snapshot_mcp.core.markup import MARKUP_NOTE
from snapshot_mcp.core.sanitize import is_plain_word, sanitize

TWO_WORDS, ONE_WORD, EMPTY = "two words", "plain", ""

# Deliberately independent of the server's own table.
_HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ue000-\uf8ff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
    "\U000f0000-\U0010ffff]"
)
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
# With its expiry: the minute may change while a test runs.
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+(?: \(until [0-9 :-]+ UTC\))?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ALTERED = re.compile(
    r"Hidden(, excess)? or unreadable text was removed from: [a-z_., ]+\."
    r"|Its name mixes letters of several alphabets and may imitate another name\."
)
_LAST_LINE = re.compile(
    r"^To agree, type exactly(?:: (?P<word>[A-Za-z0-9][A-Za-z0-9._-]*)"
    r'| the text between the quotation marks: "(?P<words>[^"\\\n]*)")\Z',
    re.MULTILINE,
)
_MAX_MARKS = 4


@cache
def _sanitized(text: str) -> str:
    return sanitize(text).text


def harmless_twin(text: str) -> str:
    """Return a harmless text that must be sanitized in the same way as `text`."""
    sanitized = _sanitized(text)
    if not sanitized:
        return EMPTY
    return ONE_WORD if is_plain_word(sanitized) else TWO_WORDS


def skeleton(output: str, text: str) -> str:
    """Return the output without quoted text, so that only the server's own words remain.

    A question ends with the words to type: one plain word, or quoted.
    """
    unflagged = [line for line in output.split("\n") if line != MARKUP_NOTE]
    assert len(output.split("\n")) - len(unflagged) <= 1
    lines = [line for line in unflagged if not _ALTERED.fullmatch(line)]
    assert len(unflagged) - len(lines) <= 2
    bare = _TOKEN.sub("TOKEN", _QUOTED.sub("Q", _LAST_LINE.sub("WORDS", "\n".join(lines))))
    sanitized = _sanitized(text)
    if _WORD.fullmatch(sanitized):
        bare = re.sub(rf"(?i)(?<=[ ,(/]){re.escape(sanitized)}(?=[ ,.:;)\n]|$)", "Q", bare)
    return bare


def requested_words(question: str) -> str:
    """Return the words that the last line of a question asks for."""
    found = _LAST_LINE.search(question)
    assert found is not None, question
    return found["word"] or found["words"]


def hidden_characters(output: str) -> list[str]:
    """Return the characters that are invisible or control a terminal; line feeds are allowed."""
    found = [f"U+{ord(character):04X}" for character in _HIDDEN.findall(output)]
    run = 0
    for character in "" if output.isascii() else output:
        run = run + 1 if unicodedata.category(character).startswith("M") else 0
        found += ["too many marks"] if run > _MAX_MARKS else []
    return found


def strings_in(value: object) -> Iterator[str]:
    """Yield every text in a JSON value, including keys."""
    match value:
        case str():
            yield value
        case dict():
            for key, entry in cast("dict[str, object]", value).items():
                yield from strings_in(key)
                yield from strings_in(entry)
        case list():
            for entry in cast("list[object]", value):
                yield from strings_in(entry)
        case _:
            return


def json_problems(value: object) -> list[str]:
    """Return what is wrong with structured content: each text must be one clean line."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return [problem for text in strings_in(value) for problem in hidden_characters(text)] + [
        "a line break" for text in strings_in(value) if "\n" in text
    ]
