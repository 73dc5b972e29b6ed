"""From bytes to JSON values; of a list's entries, only what is read of them.

Most of a page of snapshots tells of each one's VM, flavor and key pair, which no list shows. To
build all that took more time than to fetch it.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import msgspec
from pydantic_core import from_json

_COMMON_KEYS = ("status", "message", "error_reason", "count")

JsonDecoder = Callable[[bytes | bytearray], object]
"""Makes the JSON value of a body; None where it is no JSON."""


def decode_json(received: bytes | bytearray) -> object:
    """The whole JSON value; None where it is none."""
    try:
        return from_json(received)
    except ValueError:
        pass
    try:
        # The slower parser takes half an emoji in one name, which must not hide a whole list.
        return json.loads(received)
    except (ValueError, RecursionError):
        return None


def build_list_decoder(key: str, entry_keys: Iterable[str]) -> JsonDecoder:
    """Decodes the body of a list: what says whether it worked, the count, and parts of the entries.

    Args:
        key: where the list stands.
        entry_keys: what is kept of an entry that is an object.
    """
    entry: Any = TypedDict("entry", dict.fromkeys(entry_keys, Any), total=False)  # pyright: ignore[reportArgumentType] - its keys come from the model
    fields: dict[str, Any] = {**dict.fromkeys(_COMMON_KEYS, Any), key: list[entry]}
    body: Any = TypedDict("body", fields, total=False)  # pyright: ignore[reportArgumentType] - as above
    decoder = msgspec.json.Decoder(body)

    def decode(received: bytes | bytearray) -> object:
        try:
            return decoder.decode(received)
        except (msgspec.DecodeError, RecursionError):
            # An entry that is no object, or anything else that is odd: it is read as it came.
            return decode_json(received)

    return decode
