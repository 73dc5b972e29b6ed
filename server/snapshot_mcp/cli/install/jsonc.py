"""Positions of objects and members in JSON with comments and trailing commas.

The text of a configuration is edited in place rather than parsed and printed, so that everything
else in it stays unchanged. All positions are indexes into the original text.
"""

import re
from json import JSONDecoder
from typing import NamedTuple, cast

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
_BLANK = re.compile(r"[ \t\r\n]*")
_NOT_AFTER_VALUE = ("", "{", "[", ",", ":")


class Member(NamedTuple):
    """One member of an object: its key, its value, and their positions in the text."""

    key: str
    value: object
    start: int
    value_start: int
    end: int


class JsonObject(NamedTuple):
    """An object: the positions of its braces (`end` is the closing one), and its members."""

    start: int
    end: int
    members: tuple[Member, ...]

    def find(self, key: str) -> Member | None:
        """Return the member with this key; of several, the last, which parsers use."""
        return next((member for member in reversed(self.members) if member.key == key), None)


def blank_comments(text: str) -> str:
    """Replace comments with blanks, which keeps all positions."""
    return _COMMENT.sub(lambda match: match[0] if match[0][0] == '"' else _blank(match[0]), text)


def to_strict_json(text: str) -> str:
    """Replace comments and trailing commas with blanks, which keeps all positions."""

    def blank_comma(match: re.Match[str]) -> str:
        before = uncommented[: match.start()].rstrip()[-1:] if match[0] == "," else ""
        return match[0] if before in _NOT_AFTER_VALUE else " "

    uncommented = blank_comments(text)
    return _TRAILING_COMMA.sub(blank_comma, uncommented)


def parse_root(text: str) -> JsonObject:
    """Return the object that makes up the whole text.

    Args:
        text: strict JSON, as returned by `to_strict_json`.

    Raises:
        ValueError: the text is not valid JSON, or not an object.
    """
    start = _skip_blanks(text, 0)
    try:
        _, end = JSONDecoder().raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _skip_blanks(text, end) != len(text):
        raise ValueError("there is more text after the object")
    if text[start] != "{":
        raise ValueError("it is not an object")
    return parse_object(text, start)


def parse_object(text: str, start: int) -> JsonObject:
    """Return the object whose opening brace is at `start`; the text must be valid JSON."""
    decoder = JSONDecoder()
    members: list[Member] = []
    position = _skip_blanks(text, start + 1)
    while text[position] != "}":
        key, key_end = cast("tuple[str, int]", decoder.raw_decode(text, position))
        value_start = _skip_blanks(text, _skip_blanks(text, key_end) + 1)
        value, end = cast("tuple[object, int]", decoder.raw_decode(text, value_start))
        members.append(Member(key, value, position, value_start, end))
        position = _skip_blanks(text, end)
        if text[position] == ",":
            position = _skip_blanks(text, position + 1)
    return JsonObject(start, position, tuple(members))


def _skip_blanks(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)
