"""JSON decoding. From a list's entries, decode only the fields that are used.

Most of a page of snapshots describes each one's VM, flavor and key pair, which no list shows.
Decoding all of it took longer than fetching it.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypedDict

import msgspec
from pydantic_core import from_json

from snapshot_mcp.cloud.damaged_json import decode_damaged_json

_COMMON_KEYS = ("status", "message", "error_reason", "count", "page_size")

JsonDecoder = Callable[[bytes | bytearray], object]
"""Returns the JSON value of a body; None if it is not JSON."""


MAX_VALUES_PER_ENTRY = 2_000
"""Values in an entry of a list, many times what the cloud sends. A value of three bytes, such as an
empty list, takes twenty times its size in memory."""

MAX_BYTES_PER_ENTRY = 40 * 1024
_MIN_BYTES = 64 * 1024
_VALUE_STARTS = (b",", b"[", b"{")


class AnswerFormat(NamedTuple):
    """The expected body of an answer.

    Attributes:
        decode: decodes the body of a success.
        entries: the number of requested entries of a list, which limits size and memory; the limits
            of a whole page apply to other answers.
    """

    decode: JsonDecoder
    entries: int = 100

    @property
    def max_bytes(self) -> int:
        """Limit of the size of the body."""
        return max(self.entries * MAX_BYTES_PER_ENTRY, _MIN_BYTES)

    def has_too_many_values(self, body: bytes | bytearray) -> bool:
        """Return whether the decoded body would take more memory than any honest one."""
        return sum(map(body.count, _VALUE_STARTS)) > self.entries * MAX_VALUES_PER_ENTRY


def decode_json(body: bytes | bytearray) -> object:
    """Return the complete JSON value; None if it is not JSON."""
    try:
        return from_json(body)
    except ValueError:
        pass
    return decode_damaged_json(body)  # one bad byte must not break a whole list


ANY_JSON = AnswerFormat(decode_json)
"""The format of every answer except a page of a list."""


def build_list_decoder(key: str, entry_keys: Iterable[str]) -> JsonDecoder:
    """Return a decoder for the body of a list: its status, its count, and parts of its entries.

    Args:
        key: the key of the list.
        entry_keys: the keys to decode of each entry.
    """
    entry: Any = TypedDict("entry", dict.fromkeys(entry_keys, Any), total=False)  # pyright: ignore[reportArgumentType] - its keys are read from the model
    fields: dict[str, Any] = {**dict.fromkeys(_COMMON_KEYS, Any), key: list[entry]}
    list_body: Any = TypedDict("list_body", fields, total=False)  # pyright: ignore[reportArgumentType] - as above
    decoder = msgspec.json.Decoder(list_body)

    def decode(body: bytes | bytearray) -> object:
        try:
            if not body.isascii():
                body.decode()  # the decoder skips what it does not need, even a damaged key
            return decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The body has another shape, such as an entry that is not an object, or is damaged:
            # decode all of it.
            return decode_json(body)

    return decode
