"""Messages on stdin: one line is one JSON-RPC message, and any other line is answered too.

Source: MCP 2025-11-25 and 2026-07-28, Transports, stdio: messages are JSON-RPC in UTF-8, delimited
by newlines. There are no batches since 2025-06-18.
"""

import json
import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import from_json

MAX_LINE_BYTES = 1_048_576
"""Bytes of one message. The arguments of the tools need a few thousand."""

MAX_ERRORS_PER_LINE = 100
"""Requests on one line, as in a batch, that are answered one by one."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r"
_TAIL_BYTES = 256
_FLAT_BYTES = 128
"""A text of this length is not nested deeper than the parser of JSON allows."""

_REPLACEMENT = "\ufffd"
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f]")
_ID_AT_END = re.compile(
    rb',\s*"id"\s*:\s*(-?(?:0|[1-9][0-9]{0,17})|"[^"\\\x00-\x1f]{1,200}")\s*\}\s*$'
)
"""The last member of valid JSON: the brace at its end is that of the message itself."""

Members = Mapping[str, Any]


class Line(NamedTuple):
    """A line of the input.

    Attributes:
        text: the line, or its beginning if it is too long.
        tail: the end of a line that is too long, else empty.
        size: the length of the line in bytes.
    """

    text: bytes
    tail: bytes = b""
    size: int = 0


class UnreadableMessageError(Exception):
    """A line is not a message that this server can handle.

    Args:
        reason: a sentence for the log and for the client, without text of the line.
        code: the error code of JSON-RPC.
        messages: the members of the messages on the line, as far as they are certain; None if
            nothing about them is known.
    """

    def __init__(self, reason: str, code: int, messages: Sequence[Members | None]) -> None:
        super().__init__(reason)
        self.code = code
        self._messages = messages

    @property
    def request_ids(self) -> Sequence[RequestId | None]:
        """Ids of the requests to answer; None for an id that is not known."""
        ids = [
            _read_id(message or {})
            for message in self._messages
            if message is None or not (_is_answer(message) or _is_notification(message))
        ]
        ids = list(dict.fromkeys(ids))
        return ids if len(ids) <= MAX_ERRORS_PER_LINE else [*ids[:MAX_ERRORS_PER_LINE], None]

    @property
    def answered_ids(self) -> Sequence[RequestId]:
        """Ids of the requests of this server that the line was to answer."""
        ids = [_read_id(message) for message in self._messages if message and _is_answer(message)]
        return [request_id for request_id in ids if request_id is not None]


class LineSplitter:
    """Splits chunks into lines; of a line that is too long, it keeps only both ends.

    Args:
        max_bytes: the length of the longest line that is kept in full.
    """

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._text = bytearray()
        self._tail = b""
        self._size = 0

    def split(self, chunk: bytes) -> Generator[Line]:
        """Yield each line that ends in this chunk."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._append(end)
            yield self._take()
        self._append(rest)

    def finish(self) -> Generator[Line]:
        """Yield the last line, if no newline ends it."""
        if self._size:
            yield self._take()

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        kept = self._max_bytes - len(self._text)
        self._text += part[:kept]
        self._tail = (self._tail + part[kept:])[-_TAIL_BYTES:]

    def _take(self) -> Line:
        line = Line(bytes(self._text), self._tail, self._size)
        self._text, self._tail, self._size = bytearray(), b"", 0
        return line


def parse_message(line: Line) -> JSONRPCMessage | None:
    """Return the message of a line; None for a blank line.

    Raises:
        UnreadableMessageError: the line is not one message.
    """
    text = line.text.strip(_BLANKS).removeprefix(_BOM).strip(_BLANKS)
    if line.tail:
        reason = f"The message is longer than {MAX_LINE_BYTES:,} bytes."
        raise UnreadableMessageError(reason, INVALID_REQUEST, [_cut_message(text, line.tail)])
    if not text:
        return None
    try:
        parsed: object = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise _syntax_error(text, error) from error
    if isinstance(parsed, list):
        reason = "There are no batches: send each message on a line of its own."
        messages = [_members(message) for message in cast("list[object]", parsed)]
        raise UnreadableMessageError(reason, INVALID_REQUEST, messages or [None])
    try:
        message = jsonrpc_message_adapter.validate_python(parsed, by_name=False)
    except ValidationError as error:
        raise _structure_error(_members(parsed)) from error
    # The type of a notification ignores an id that the types of the other messages reject.
    if isinstance(message, JSONRPCNotification) and "id" in (members := _members(parsed) or {}):
        raise _structure_error(members)
    return message


def _syntax_error(text: bytes, error: ValueError) -> UnreadableMessageError:
    try:
        text.decode()
    except UnicodeDecodeError:
        reason = "The message is not valid UTF-8."
    else:
        reason = f"The message is not valid JSON: {str(error)[:100]}."
    return UnreadableMessageError(reason, PARSE_ERROR, _find_messages(text))


def _structure_error(members: Members | None) -> UnreadableMessageError:
    reason = "The message is not a request, a notification or a response of JSON-RPC 2.0."
    if members and not isinstance(members.get("id", 0), int | str):
        reason = "The id of a request must be a string or a whole number."
    return UnreadableMessageError(reason, INVALID_REQUEST, [members])


def _find_messages(text: bytes) -> list[Members | None]:
    """Return the messages on a line that is not valid JSON."""
    decoded = text.decode(errors="replace").strip("\0 \t\r")
    # Unlike from_json, it accepts half a surrogate pair, control characters in a text, and NaN.
    decoder = json.JSONDecoder(strict=False)
    messages: list[Members | None] = []
    start = 0
    try:
        while start < len(decoded) and len(messages) <= MAX_ERRORS_PER_LINE:
            value, end = decoder.raw_decode(decoded, start)
            messages.append(_members(value))
            start = end + len(decoded[end:]) - len(decoded[end:].lstrip("\0 \t\r"))
    except ValueError:
        messages = messages or [_cut_message(text)]
    except RecursionError:
        messages.append(_cut_message(text, text[-_TAIL_BYTES:]))
    return messages or [None]


def _cut_message(beginning: bytes, end: bytes = b"") -> Members | None:
    """Return the certain members of a message of which only the ends can be read."""
    decoded = _CONTROL_CHARACTER.sub(" ", beginning.decode(errors="replace"))
    members: dict[str, Any] = {}
    for text in (decoded, decoded[:_FLAT_BYTES]):
        try:
            members = dict(_members(from_json(text, allow_partial=True)) or {})
        except ValueError:
            continue
        if text[-1:].isdigit() and next(reversed(members), "") == "id":
            del members["id"]  # its last digits may be missing
        break
    if "id" not in members and (match := _ID_AT_END.search(end)):
        members["id"] = json.loads(match[1].decode(errors="replace"))
    return members if "id" in members else None


def _members(value: object) -> Members | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _is_answer(message: Members) -> bool:
    return "method" not in message and bool(message.keys() & {"result", "error"})


def _is_notification(message: Members) -> bool:
    """Return whether a message must not be answered."""
    return isinstance(message.get("method"), str) and "id" not in message


def _read_id(message: Members) -> RequestId | None:
    """Return the id of a message; None if it cannot be repeated exactly."""
    value: object = message.get("id")
    match value:
        case bool():
            return None
        case float() if value.is_integer():
            return int(value)
        case str() if value.isprintable() and _REPLACEMENT not in value:
            return value
        case int():
            return value
        case _:
            return None
