"""Decoding of damaged JSON: a bad byte, number or bracket costs only the smallest part around it.

This is much slower than the usual decoders, which run first and fail on a damaged body.
"""

import json
import re
from typing import Final, cast

MAX_RECOVERED_LENGTH = 1024 * 1024
"""Limit in characters of a body that is taken apart. A page of 100 snapshots has about 0.3 MB."""

MAX_MEMBERS = 10_000
_MAX_LEVELS = 8
"""From a body to a field of an entry there are at most six levels."""

_MAX_INTEGER_DIGITS = 20
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKENS = re.compile(rf"{_STRING}|[\[\]{{}},\"]", re.DOTALL)
_MEMBER = re.compile(rf"\s*({_STRING})\s*:(.*)", re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}


class Unreadable:
    """In place of a part of the JSON that cannot be decoded; see `UNREADABLE`."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE: Final = Unreadable()


class _DamagedError(ValueError):
    """A part of the JSON cannot be decoded."""


def decode_damaged_json(body: bytes | bytearray) -> object:
    """Return the JSON value with `UNREADABLE` in place of damaged parts; None if it is not JSON.

    Invalid UTF-8 becomes lone surrogates, which sanitizing replaces and reports.
    """
    try:
        text = _decode_text(body)
    except UnicodeDecodeError:
        return None
    value = _recover(text, _MAX_LEVELS if len(text) <= MAX_RECOVERED_LENGTH else 0)
    return None if value is UNREADABLE else value


def _decode_text(body: bytes | bytearray) -> str:
    # This also recognizes a byte order mark, and UTF-16.
    encoding = json.detect_encoding(body)
    is_utf8 = encoding.startswith("utf-8")
    return body.decode(encoding, "surrogateescape" if is_utf8 else "replace")


def _recover(text: str, levels: int) -> object:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        pass
    text = text.strip()
    if not levels or text[:1] not in _CLOSING:
        return UNREADABLE
    try:
        members = _split(text)
        if text[0] == "[":
            return [_recover(member, levels - 1) for member in members]
        return dict(_recover_member(member, levels - 1) for member in members)
    except _DamagedError:
        return UNREADABLE


def _recover_member(text: str, levels: int) -> tuple[str, object]:
    member = _MEMBER.fullmatch(text)
    key = _recover(member[1], 0) if member else None
    if member is None or not isinstance(key, str):
        raise _DamagedError
    _check_key(key)
    return key, _recover(member[2], levels)


def _split(text: str) -> list[str]:
    """Return the members of an array or object, undecoded.

    Raises:
        _DamagedError: its brackets do not match, or it has too many members.
    """
    members: list[str] = []
    expected: list[str] = []
    start, end = 1, 0
    for token in _TOKENS.finditer(text):
        character = token[0]
        if character in _CLOSING:
            expected.append(_CLOSING[character])
        elif character in ("]", "}"):
            if not expected or expected.pop() != character:
                raise _DamagedError
            if not expected:
                members.append(text[start : token.start()])
                end = token.end()
        elif character == "," and len(expected) == 1:
            members.append(text[start : token.start()])
            start = token.end()
        elif character == '"':
            raise _DamagedError  # a string without an end
        if (end and end != token.end()) or len(members) > MAX_MEMBERS:
            raise _DamagedError
    if end != len(text):
        raise _DamagedError  # cut off, or followed by something else
    return members if members != [""] else []


def _check_key(key: str) -> None:
    # A damaged key may be that of any field, such as the labels that protect a snapshot. So the
    # object must be read as a whole or not at all.
    if not key.isascii() and any("\ud800" <= character <= "\udfff" for character in key):
        raise _DamagedError


def _build_object(pairs: list[tuple[str, object]]) -> object:
    try:
        for key, _ in pairs:
            _check_key(key)
    except _DamagedError:
        return UNREADABLE
    return dict(pairs)


def _parse_integer(digits: str) -> object:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else UNREADABLE


_DECODER = json.JSONDecoder(
    strict=False,  # accept control characters in strings
    object_pairs_hook=cast("type[dict[str, object]]", _build_object),
    parse_int=cast("type[int]", _parse_integer),
)
