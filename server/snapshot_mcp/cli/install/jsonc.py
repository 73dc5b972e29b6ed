"""Where things stand in JSON that people write: comments and trailing commas are allowed.

Nothing is written anew that need not be, so a text is not parsed and printed but cut into: whatever
is found here are places in the text as it is.
"""

import re
from json import JSONDecoder
from typing import NamedTuple, cast

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
_BLANK = re.compile(r"[ \t\r\n]*")
_NO_VALUE_BEFORE = ("", "{", "[", ",", ":")


class Member(NamedTuple):
    """One member of an object: its key, its value, and where they begin and end in the text."""

    key: str
    value: object
    start: int
    value_start: int
    end: int


class JsonObject(NamedTuple):
    """An object: where its braces are (`end` is that of the closing one), and its members."""

    start: int
    end: int
    members: tuple[Member, ...]

    def find(self, key: str) -> Member | None:
        """The member that counts: of several with one key, the last."""
        return next((it for it in reversed(self.members) if it.key == key), None)


def without_comments(text: str) -> str:
    """The text with blanks in place of comments; every other character stays where it is."""
    return _COMMENT.sub(lambda it: it[0] if it[0][0] == '"' else _blank(it[0]), text)


def strict(text: str) -> str:
    """The text with blanks in place of comments and trailing commas, as strict JSON has it."""

    def without_comma(found: re.Match[str]) -> str:
        before = uncommented[: found.start()].rstrip()[-1:] if found[0] == "," else ""
        return found[0] if before in _NO_VALUE_BEFORE else " "

    uncommented = without_comments(text)
    return _TRAILING_COMMA.sub(without_comma, uncommented)


def root_of(text: str) -> JsonObject:
    """The object that the text is.

    Args:
        text: strict JSON, as `strict` makes it.

    Raises:
        ValueError: it is no valid JSON, or no object.
    """
    start = _after_blanks(text, 0)
    try:
        _, end = JSONDecoder().raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _after_blanks(text, end) != len(text):
        raise ValueError("something follows the object")
    if text[start] != "{":
        raise ValueError("it is no object")
    return object_at(text, start)


def object_at(text: str, start: int) -> JsonObject:
    """The object whose brace is at `start` of a text that is known to be valid."""
    decoder = JSONDecoder()
    members: list[Member] = []
    at = _after_blanks(text, start + 1)
    while text[at] != "}":
        key, key_end = cast("tuple[str, int]", decoder.raw_decode(text, at))
        value_start = _after_blanks(text, _after_blanks(text, key_end) + 1)
        value, end = cast("tuple[object, int]", decoder.raw_decode(text, value_start))
        members.append(Member(key, value, at, value_start, end))
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)
    return JsonObject(start, at, tuple(members))


def _after_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)
