"""Requests of the API: validated path, query and body."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from snapshot_mcp.sandbox.errors import ApiError, bad_request_error, not_found_error

Item = TypeVar("Item")

MAX_BODY_BYTES = 64 * 1024
MAX_NAME_LENGTH = 50
MAX_ID = 2**63 - 1
DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_PAGE_NUMBER = 999_999_999
# The names that `validate_name` accepts, for the OpenAPI document: no control characters, and not
# only whitespace. Whitespace is listed in full, because regular expression dialects differ in it.
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_WHITESPACE = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NAME_PATTERN = f"^[^{_CONTROL}]*[^{_CONTROL}{_WHITESPACE}][^{_CONTROL}]*$"


@dataclass(frozen=True)
class PageRequest:
    """The requested page of a list; without a number, the complete list."""

    number: int | None = None
    size: int | None = None

    @property
    def limit(self) -> int:
        """Maximum number of rows; -1 means all rows to SQLite."""
        return -1 if self.size is None else self.size

    @property
    def offset(self) -> int:
        """Number of rows to skip."""
        return ((self.number or 1) - 1) * (self.size or 0)

    def slice(self, items: list[Item]) -> list[Item]:
        """Return the items of this page."""
        return items if self.size is None else items[self.offset : self.offset + self.size]

    def count(self, total: int) -> int:
        """Return the number of pages."""
        return max(1, -(-total // (self.size or max(1, total))))


@dataclass(frozen=True)
class ApiRequest:
    """The parts of a request that handlers use."""

    path_params: Mapping[str, Any]
    query: Mapping[str, str]
    body: bytes = b""

    def resource_id(self, key: str = "id") -> int:
        """Return an id in the path.

        Raises:
            ApiError: 400 if it is not a number, 404 if it is larger than any id.
        """
        text = str(self.path_params[key])
        if not (text.isascii() and text.isdigit()):
            raise bad_request_error("The id must be a number.")
        if len(text.lstrip("0")) > len(str(MAX_ID)) or int(text) > MAX_ID:
            raise not_found_error("No id is that large.")
        return int(text)

    def page(self, size_key: str = "pageSize") -> PageRequest:
        """Return the requested page; a size above `MAX_PAGE_SIZE` is reduced to it.

        Source: the vendor's OpenAPI document: the size is called per_page for images, contracts and
        billing, and pageSize elsewhere. The limits are specific to the embedded cloud.

        Args:
            size_key: the name of the parameter for the size.
        """
        if "page" not in self.query and size_key not in self.query:
            return PageRequest()
        size = self._positive_number(size_key, DEFAULT_PAGE_SIZE)
        return PageRequest(number=self._positive_number("page", 1), size=min(size, MAX_PAGE_SIZE))

    def search(self) -> str:
        """Return the case-folded text to search for; an empty one matches everything."""
        return self.query.get("search", "").casefold()

    def text(self, key: str) -> str | None:
        """Return a parameter of the query, None if absent or empty."""
        return self.query.get(key) or None

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean parameter of the query, in any case."""
        value = self.query.get(key, str(default)).casefold()
        if value in {"true", "false"}:
            return value == "true"
        raise bad_request_error(f"{key} must be true or false.")

    def time(self, key: str, default: datetime) -> datetime:
        """Return a time of the query in UTC, which may lack the time of day or the time zone."""
        text = self.query.get(key)
        if text is None:
            return default
        try:
            time = datetime.fromisoformat(text)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise bad_request_error(f"{key} must be a time such as 2026-05-01T00:00:00.") from error

    def fields(self, *names: str) -> "BodyFields":
        """Return the fields of the body, which must be a JSON object.

        Args:
            names: the known fields. Source: the image call refuses unknown fields, and so does
                every other call of the embedded cloud.
        """
        try:
            body = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise bad_request_error("The body is not valid JSON.") from error
        if not isinstance(body, dict):
            raise bad_request_error("The body must be a JSON object.")
        fields = cast("dict[str, object]", body)
        if unknown := sorted(fields.keys() - names):
            raise bad_request_error(f"{_shown(unknown[0])}: Unknown field.")
        return BodyFields(fields)

    def _positive_number(self, key: str, default: int) -> int:
        text = self.query.get(key, str(default))
        max_digits = len(str(MAX_PAGE_NUMBER))
        if text.isascii() and text.isdigit() and len(text) <= max_digits and int(text):
            return int(text)
        raise bad_request_error(f"{key} must be a whole number from 1 up.")


@dataclass(frozen=True)
class BodyFields:
    """The fields of a body."""

    values: Mapping[str, object]

    def name(self, key: str = "name") -> str:
        """Return a required name."""
        if key not in self.values:
            raise _missing_error(key)
        return validate_name(self._string(key), key)

    def text(self, key: str) -> str:
        """Return a required text, which may be empty."""
        if key not in self.values:
            raise _missing_error(key)
        return self._string(key)

    def labels(self) -> list[str]:
        """Return the list of labels, empty if absent or null."""
        labels = self.values.get("labels")
        if labels is None:
            return []
        if not isinstance(labels, list):
            raise bad_request_error("labels must be a list of strings.")
        return [_valid_text(label, "labels") for label in cast("list[object]", labels)]

    def number(self, key: str) -> int | None:
        """Return a whole number, None if absent or null."""
        value = self.values.get(key)
        number = _whole_number(value)
        if number is None and value is not None:
            raise bad_request_error(f"{key} must be a whole number.")
        return number

    def flag(self, key: str) -> bool:
        """Return a required boolean."""
        if key not in self.values:
            raise _missing_error(key)
        value = self.values[key]
        if isinstance(value, bool):
            return value
        raise bad_request_error(f"{key} must be true or false.")

    def numbers(self, key: str) -> list[int]:
        """Return a required list of whole numbers."""
        if key not in self.values:
            raise _missing_error(key)
        values = self.values[key]
        if isinstance(values, list):
            numbers = [_whole_number(value) for value in cast("list[object]", values)]
            if None not in numbers:
                return [number for number in numbers if number is not None]
        raise bad_request_error(f"{key} must be a list of whole numbers.")

    def _string(self, key: str) -> str:
        return _valid_text(self.values[key], key)


def validate_name(name: str, key: str = "name") -> str:
    """Return a name if it has 1 to 50 characters without control characters.

    Source: the vendor's guide for the length.

    Raises:
        ApiError: The name is not valid.
    """
    if not name.strip():
        raise bad_request_error(f"{key} must not be empty.")
    if len(name) > MAX_NAME_LENGTH:
        raise bad_request_error(f"{key} must have at most {MAX_NAME_LENGTH} characters.")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise bad_request_error(f"{key} must not contain control characters.")
    return name


def _valid_text(value: object, key: str) -> str:
    """Return a text that UTF-8 can encode; JSON can also express half of a surrogate pair."""
    if not isinstance(value, str):
        raise _wrong_type_error(key)
    if any(unicodedata.category(character) == "Cs" for character in value):
        raise bad_request_error(f"{key} must be valid Unicode.")
    return value


def _whole_number(value: object) -> int | None:
    """Return a whole number; JSON may write it with a fraction of zero."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _missing_error(key: str) -> ApiError:
    """Source: public code that probed the live API."""
    return bad_request_error(f"{key}: Missing data for required field.")


def _shown(key: str) -> str:
    return key.encode("ascii", "backslashreplace").decode()[:MAX_NAME_LENGTH]


def _wrong_type_error(key: str) -> ApiError:
    kind = "a list of strings" if key == "labels" else "a string"
    return bad_request_error(f"{key} must be {kind}.")
