"""What a caller asks: path, query and body, checked before anything is done."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from snapshot_mcp.sandbox.errors import RefusalError, bad_request, not_found

MAX_BODY_BYTES = 64 * 1024
MAX_NAME_LENGTH = 50
MAX_ID = 2**63 - 1
DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_PAGE = 999_999_999
# What `checked_name` takes, for the OpenAPI document: no control characters, not only blanks.
# Every blank is spelled out, because regular expressions differ in what they hold for one.
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_BLANK = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NAME_PATTERN = f"^[^{_CONTROL}]*[^{_CONTROL}{_BLANK}][^{_CONTROL}]*$"


@dataclass(frozen=True)
class PageRequest:
    """A part of a list; without a number it is the whole list."""

    number: int | None = None
    size: int | None = None

    @property
    def limit(self) -> int:
        """Most rows to answer; SQLite takes -1 for all of them."""
        return -1 if self.size is None else self.size

    @property
    def offset(self) -> int:
        """Rows to skip."""
        return ((self.number or 1) - 1) * (self.size or 0)


@dataclass(frozen=True)
class ApiRequest:
    """One request, as far as an action needs it."""

    path: Mapping[str, Any]
    query: Mapping[str, str]
    body: bytes = b""

    def id(self) -> int:
        """The id in the path.

        Raises:
            RefusalError: 400 when it is no number, 404 when no id is that large.
        """
        text = str(self.path["id"])
        if not (text.isascii() and text.isdigit()):
            raise bad_request("The id must be a number.")
        if len(text.lstrip("0")) > len(str(MAX_ID)) or int(text) > MAX_ID:
            raise not_found("No id is that large.")
        return int(text)

    def page(self) -> PageRequest:
        """The page asked for; a size above 100 counts as 100.

        Source: the vendor's OpenAPI document has page and pageSize; the limits are this cloud's.
        """
        if "page" not in self.query and "pageSize" not in self.query:
            return PageRequest()
        size = self._positive("pageSize", DEFAULT_PAGE_SIZE)
        return PageRequest(number=self._positive("page", 1), size=min(size, MAX_PAGE_SIZE))

    def search(self) -> str:
        """The part of a name that is searched, without regard to case; empty finds everything."""
        return self.query.get("search", "").casefold()

    def fields(self) -> "Fields":
        """The body as a JSON object."""
        try:
            body = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise bad_request("The body is not valid JSON.") from error
        if not isinstance(body, dict):
            raise bad_request("The body must be a JSON object.")
        return Fields(cast("dict[str, object]", body))

    def _positive(self, key: str, default: int) -> int:
        text = self.query.get(key, str(default))
        longest = len(str(MAX_PAGE))
        if text.isascii() and text.isdigit() and len(text) <= longest and int(text):
            return int(text)
        raise bad_request(f"{key} must be a whole number from 1 up.")


@dataclass(frozen=True)
class Fields:
    """The fields of a body; unknown ones are ignored, as the cloud does."""

    values: Mapping[str, object]

    def name(self, key: str = "name") -> str:
        """A name, which must be there."""
        if key not in self.values:
            raise bad_request(f"{key} is required.")
        return checked_name(self._string(key), key)

    def text(self, key: str) -> str:
        """A text, empty when absent or null."""
        return "" if self.values.get(key) is None else self._string(key)

    def labels(self) -> list[str]:
        """A list of texts, empty when absent or null."""
        labels = self.values.get("labels")
        if labels is None:
            return []
        if not isinstance(labels, list):
            raise bad_request("labels must be a list of strings.")
        return [_storable(label, "labels") for label in cast("list[object]", labels)]

    def number(self, key: str) -> int | None:
        """A whole number, None when absent or null."""
        value = self.values.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise bad_request(f"{key} must be a whole number.")

    def _string(self, key: str) -> str:
        return _storable(self.values[key], key)


def checked_name(name: str, key: str = "name") -> str:
    """A name as the cloud takes it: 1 to 50 characters, none of them a control character.

    Source: the vendor's guide for the length.
    """
    if not name.strip():
        raise bad_request(f"{key} must not be empty.")
    if len(name) > MAX_NAME_LENGTH:
        raise bad_request(f"{key} must have at most {MAX_NAME_LENGTH} characters.")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise bad_request(f"{key} must not contain control characters.")
    return name


def _storable(value: object, key: str) -> str:
    """A text that UTF-8 can hold; JSON can spell half of a surrogate pair, which is none."""
    if not isinstance(value, str):
        raise _wrong_type(key)
    if any(unicodedata.category(character) == "Cs" for character in value):
        raise bad_request(f"{key} must be valid Unicode.")
    return value


def _wrong_type(key: str) -> RefusalError:
    kind = "a list of strings" if key == "labels" else "a string"
    return bad_request(f"{key} must be {kind}.")
