"""Readers of single JSON values: numbers, times, text, labels. An unreadable value becomes None.

So does a value that only says that there is none, such as the id 0, the size -1 or the year 1.

The cloud's API document and its recorded replies disagree on many types, so each reader accepts
several. Text is sanitized here, so the rest of the server holds clean text only.
"""

import json
import re
import typing
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from snapshot_mcp.core.clock import parse_utc
from snapshot_mcp.core.sanitize import is_plain_ascii, sanitize
from snapshot_mcp.models.cloud import MAX_ID

MAX_LABELS = 50
_MAX_LABEL_LENGTH = 60
_MAX_JSON_LENGTH = 20_000
MIN_TIME = datetime(2015, 1, 1, tzinfo=UTC)
"""Earlier times are zero values of some software, such as the years 1, 1601, 1900, 1970 and 2000.

Source: the vendor was founded in 2020."""

MAX_TIME_AHEAD = timedelta(days=1)
"""Later times are no measurements. Clocks and time zones may differ by less than a day."""

TIME_KEYS = ("created_at", "updated_at", "time", "createdAt", "updatedAt")
_MIN_TIME_TEXT = MIN_TIME.strftime("%Y")
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


def read_id(value: object) -> int | None:
    """Return a positive integer; else None, because clouds write 0 or -1 where there is no id."""
    number = read_integer(value)
    return None if number is None or number < 1 else number


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
    """Return an aware UTC time from ISO 8601 text with or without a zone; else None.

    Times before `MIN_TIME` become None. `drop_future_times` removes those in the future.
    """
    if not isinstance(value, str):
        return None
    try:
        time = parse_utc(value.strip())
    except ValueError:
        return None
    return None if time < MIN_TIME else time


def drop_future_times(body: object, now: datetime) -> None:
    """Replace times in the future by None, in the object of an answer or the entries of its list.

    Args:
        body: the decoded JSON, which is modified.
        now: the current time.
    """
    if type(body) is not dict:
        return
    latest = now + MAX_TIME_AHEAD
    latest_text = latest.strftime("%Y-%m-%d")
    for value in typing.cast("dict[str, object]", body).values():
        if type(value) is dict:
            _drop_nested_future_times(typing.cast("dict[str, object]", value), latest, latest_text)
        elif type(value) is list:
            for entry in typing.cast("list[object]", value):
                if type(entry) is dict:
                    fields = typing.cast("dict[str, object]", entry)
                    _drop_future_times(fields, latest, latest_text)


def _drop_nested_future_times(
    fields: dict[str, object], latest: datetime, latest_text: str
) -> None:
    _drop_future_times(fields, latest, latest_text)
    for value in fields.values():
        if type(value) is dict:
            _drop_future_times(typing.cast("dict[str, object]", value), latest, latest_text)


def _drop_future_times(fields: dict[str, object], latest: datetime, latest_text: str) -> None:
    for key in TIME_KEYS:
        value = fields.get(key)
        # Comparing text is fast, and right for the usual format; other formats are parsed.
        if type(value) is str and not _MIN_TIME_TEXT <= value < latest_text:
            time = read_time(value)
            if time is not None and time > latest:
                fields[key] = None


def read_count(value: object) -> int | None:
    """Return a non-negative integer, such as a number of gigabytes; else None."""
    count = read_integer(value)
    return None if count is None or count < 0 else count


def read_text(max_length: int, value: object, field: str, altered: AlteredFields) -> str | None:
    """Return sanitized text, also of a number or of an object with a name; else, or if empty, None.

    Args:
        max_length: limit in characters.
        value: the JSON value.
        field: added to `altered` if sanitizing altered the text.
        altered: collects the altered fields.
    """
    if type(value) is str and is_plain_ascii(value, max_length):
        return value or None  # the usual case
    if isinstance(value, Mapping):
        value = typing.cast("Mapping[str, object]", value).get("name")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value) if abs(value) <= MAX_ID else None
    if not isinstance(value, str):
        return None
    sanitized = sanitize(value, max_length)
    if sanitized.altered:
        altered.append(field)
    return sanitized.text or None


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
        if entry != ""
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
