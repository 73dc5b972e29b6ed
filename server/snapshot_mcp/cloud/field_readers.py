"""Readers of single JSON values: numbers, times, text, labels. An unreadable value becomes None.

The cloud's API document and its recorded replies disagree on many types, so each reader accepts
several. Text is sanitized here, so the rest of the server holds clean text only.
"""

import json
import re
import typing
from collections.abc import Mapping
from datetime import datetime

from snapshot_mcp.core.clock import parse_utc
from snapshot_mcp.core.sanitize import is_plain_ascii, sanitize
from snapshot_mcp.models.cloud import MAX_ID

MAX_LABELS = 50
_MAX_LABEL_LENGTH = 60
_MAX_JSON_LENGTH = 20_000
_INTEGER = re.compile(r"[+-]?\d{1,19}")


class AlteredFields(list[str]):
    """The names of the fields whose text was altered, without duplicates."""

    def append(self, field: str, /) -> None:
        """Add a field."""
        if field not in self:
            super().append(field)


def read_integer(value: object) -> int | None:
    """Return an integer of at most 64 bits, also from text; else None."""
    if type(value) is int:
        return value if -MAX_ID <= value <= MAX_ID else None
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and abs(value) <= MAX_ID else None


def read_number(value: object) -> float | None:
    """Return a finite number, also from text; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= MAX_ID else None  # False for NaN


def read_time(value: object) -> datetime | None:
    """Return an aware UTC time from ISO 8601 text with or without a zone; else None."""
    if not isinstance(value, str):
        return None
    try:
        return parse_utc(value.strip())
    except ValueError:
        return None


def read_size(value: object) -> int | None:
    """Return a non-negative number of gigabytes; else None."""
    size = read_integer(value)
    return None if size is None or size < 0 else size


def read_text(max_length: int, value: object, field: str, altered: AlteredFields) -> str | None:
    """Return sanitized text, also of a number or of an object with a name; else None.

    Args:
        max_length: limit in characters.
        value: the JSON value.
        field: added to `altered` if sanitizing altered the text.
        altered: collects the altered fields.
    """
    if type(value) is str and is_plain_ascii(value, max_length):
        return value  # the usual case
    if isinstance(value, Mapping):
        value = typing.cast("Mapping[str, object]", value).get("name")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value) if abs(value) <= MAX_ID else None
    if not isinstance(value, str):
        return None
    sanitized = sanitize(value, max_length)
    if sanitized.altered:
        altered.append(field)
    return sanitized.text


def read_boolean(value: object) -> bool | None:
    """Return a boolean, also from 0, 1 or text; else None."""
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None


def read_labels(value: object, field: str, altered: AlteredFields) -> tuple[str, ...] | None:
    """Return labels, also from text with JSON or commas; else None. See `read_text`."""
    if type(value) is list and _are_plain_labels(typing.cast("list[object]", value)):
        return tuple(typing.cast("list[str]", value))  # the usual case
    if isinstance(value, str):
        value = _parse_json(value) or _split_labels(value)
    if not isinstance(value, list):
        altered.append(field)
        return None
    entries = typing.cast("list[object]", value)
    if len(entries) > MAX_LABELS:
        altered.append(field)
    altered_labels = AlteredFields()
    texts = [
        read_text(_MAX_LABEL_LENGTH, _label_text(entry), field, altered_labels)
        for entry in entries[:MAX_LABELS]
    ]
    if altered_labels or None in texts:
        altered.append(field)
    return tuple(filter(None, texts))


def _are_plain_labels(labels: list[object]) -> bool:
    if len(labels) > MAX_LABELS:
        return False
    for label in labels:
        if type(label) is not str or not label or not is_plain_ascii(label, _MAX_LABEL_LENGTH):
            return False
    return True


def _split_labels(text: str) -> list[str]:
    if text.strip() == "[]":
        return []
    parts = text[:_MAX_JSON_LENGTH].split(",", MAX_LABELS + 1)
    return [part.strip() for part in parts]


def _label_text(entry: object) -> object:
    # Source: a flavor's labels are {id, label} in the vendor's object description.
    if type(entry) is str:
        return entry
    if isinstance(entry, Mapping):
        entry = typing.cast("Mapping[str, object]", entry)
        return entry.get("label", entry.get("name"))
    return entry


def as_mapping(value: object) -> Mapping[str, object] | None:
    """Return an object, also from text with JSON; else None."""
    if type(value) is dict:  # the usual case; isinstance with an abstract class is slow
        return typing.cast("dict[str, object]", value)
    if isinstance(value, str):
        value = _parse_json(value)
    return typing.cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def _parse_json(text: str) -> object:
    # Source: the OpenAPI document types the nested objects as strings.
    if len(text) > _MAX_JSON_LENGTH or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
