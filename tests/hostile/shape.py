"""What may be seen of a hostile text: nothing hidden, no line of its own, nothing unquoted."""

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import cast

from snapshot_mcp.core.sanitize import sanitize

TWO_WORDS, ONE_WORD, EMPTY = "two words", "plain", ""

# Independent of the server's own table, on purpose.
_HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ue000-\uf8ff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
    "\U000f0000-\U0010ffff]"
)
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ALTERED = re.compile(
    r"Hidden (or excess )?characters were removed from: [a-z_., ]+\."
    r"|Its name mixes letters of several alphabets: it may imitate another name\."
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
    """A harmless text that must be shown in the same way as `text`."""
    shown = _sanitized(text)
    if not shown:
        return EMPTY
    return ONE_WORD if _WORD.fullmatch(shown) else TWO_WORDS


def skeleton(said: str, text: str) -> str:
    """What was said without what stands in quotation marks: only words of ours are left.

    The words that a person is to type end the question: one plain word, or quoted.
    """
    told = [line for line in said.split("\n") if not _ALTERED.fullmatch(line)]
    assert len(said.split("\n")) - len(told) <= 2
    bare = _TOKEN.sub("TOKEN", _QUOTED.sub("Q", _LAST_LINE.sub("WORDS", "\n".join(told))))
    shown = _sanitized(text)
    if _WORD.fullmatch(shown):
        bare = re.sub(rf"(?i)(?<=[ ,(/]){re.escape(shown)}(?=[ ,.:;)\n]|$)", "Q", bare)
    return bare


def requested_words(question: str) -> str:
    """What a person would type who reads the last line of a question."""
    found = _LAST_LINE.search(question)
    assert found is not None, question
    return found["word"] or found["words"]


def hidden_characters(said: str) -> list[str]:
    """Characters that no reader can see, or that a terminal obeys; line feeds are ours."""
    found = [f"U+{ord(it):04X}" for it in _HIDDEN.findall(said)]
    run = 0
    for character in "" if said.isascii() else said:
        run = run + 1 if unicodedata.category(character).startswith("M") else 0
        found += ["too many marks"] if run > _MAX_MARKS else []
    return found


def strings_in(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys as well."""
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
    """What is wrong with structured content: it must encode, and hold one clean line a text."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return [trouble for text in strings_in(value) for trouble in hidden_characters(text)] + [
        "a line break" for text in strings_in(value) if "\n" in text
    ]
