"""Replies that no honest cloud sends, by name, as misbehaviors of the raw cloud."""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from functools import partial

import anyio

from tests.hostile.harness import REMOTE_TEXT
from tests.hostile.raw_cloud import HonestReply, Misbehavior, ServerConnection, encode_response

BLOCK_BYTES = 64 * 1024
MAX_NESTING = 100_000
ZERO_CHUNK = b"0\r\n\r\n"

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"
_VALID_BODY = json.dumps(
    {"status": True, "message": REMOTE_TEXT, "snapshots": [], "count": 0}
).encode()
_SIGN_IN_PAGE = f"<!doctype html><html><title>Sign in</title><p>{REMOTE_TEXT}</p></html>".encode()
_ID = re.compile(rb'"id":\s*\d+')
_STATUS = re.compile(rb'"status":\s*(true|200)')


def send_and_close(*parts: bytes) -> Misbehavior:
    """Send these bytes and close the connection."""

    async def misbehavior(connection: ServerConnection, _: HonestReply) -> bool:
        await connection.send(b"".join(parts))
        return False

    return misbehavior


def alter_body(change: Callable[[bytes], bytes]) -> Misbehavior:
    """Reply with the changed honest body, and keep the connection."""

    async def misbehavior(connection: ServerConnection, reply: HonestReply) -> bool:
        await connection.send(encode_response(change(reply.body)))
        return True

    return misbehavior


def send_and_reset(*parts: bytes) -> Misbehavior:
    """Send these bytes and reset the connection."""

    async def misbehavior(connection: ServerConnection, _: HonestReply) -> bool:
        await connection.send(b"".join(parts))
        connection.reset()
        return False

    return misbehavior


def send_and_stall(*parts: bytes) -> Misbehavior:
    """Send these bytes, and then nothing more."""

    async def misbehavior(connection: ServerConnection, _: HonestReply) -> bool:
        await connection.send(b"".join(parts))
        await anyio.sleep_forever()
        return False

    return misbehavior


def send_repeatedly(
    head: bytes, part: bytes, *, at_most: int | None = None, pause: float = 0
) -> Misbehavior:
    """Send `part` repeatedly, until `at_most` bytes are sent or the client has left."""

    async def misbehavior(connection: ServerConnection, _: HonestReply) -> bool:
        await connection.send(head)
        before = connection.bytes_sent
        while at_most is None or connection.bytes_sent - before < at_most:
            await connection.send(part)
            # The client runs in this process too, and needs its turn.
            await anyio.sleep(pause)
        return False

    return misbehavior


def compression_bomb(size: int) -> bytes:
    """Return `size` zero bytes, compressed twice."""
    return gzip.compress(gzip.compress(bytes(size)))


def _send_body(body: bytes, *headers: str, status: str = "200 OK") -> Misbehavior:
    return send_and_close(encode_response(body, *headers, status=status))


def _send_lengths(*lengths: str) -> Misbehavior:
    lines = b"".join(f"content-length: {length}\r\n".encode() for length in lengths)
    return send_and_close(_HEAD, lines, b"\r\n", _VALID_BODY)


def _send_chunks(*parts: bytes) -> Misbehavior:
    return send_and_close(_CHUNKED, *parts)


def _send_nested(levels: int) -> Misbehavior:
    deep = b"[" * levels + b"]" * levels
    return _send_body(b'{"status": true, "snapshot": ' + deep + b', "snapshots": ' + deep)


_GARBAGE: Mapping[str, Misbehavior] = {
    "nothing": send_and_close(),
    "HTTP/0.9": send_and_close(f"Welcome to {REMOTE_TEXT}\n".encode()),
    "a page without a head": send_and_close(_SIGN_IN_PAGE),
    "another protocol": send_and_close(f"ICY 200 {REMOTE_TEXT}\r\n\r\n".encode(), _VALID_BODY),
    "a TLS alert": send_and_close(b"\x15\x03\x03\x00\x02\x02\x28"),
    "all byte values": send_and_close(bytes(range(256)) * 8),
    "null bytes": send_and_close(bytes(4096)),
    "a status without digits": send_and_close(f"HTTP/1.1 OK {REMOTE_TEXT}\r\n\r\n".encode()),
    "a status of two digits": send_and_close(b"HTTP/1.1 20 OK\r\n\r\n", _VALID_BODY),
    "a status of four digits": send_and_close(b"HTTP/1.1 2000 OK\r\n\r\n", _VALID_BODY),
    "an unknown status": _send_body(_VALID_BODY, status=f"999 {REMOTE_TEXT}"),
    "a protocol switch": send_and_close(b"HTTP/1.1 101 Switching\r\n\r\n", _VALID_BODY),
}
_HEADERS: Mapping[str, Misbehavior] = {
    "endless headers": send_repeatedly(_HEAD, b"x-more: " + b"y" * 1_000 + b"\r\n"),
    "an endless header line": send_repeatedly(_HEAD + b"x-more: ", b"y" * 1_000),
    "an endless status line": send_repeatedly(b"HTTP/1.1 200 ", b"y" * 1_000),
    "a header without a name": send_and_close(
        _HEAD, f": {REMOTE_TEXT}\r\ncontent-length: 2\r\n\r\n{{}}".encode()
    ),
    "a header with a null": send_and_close(_HEAD, b"x: a\0b\r\ncontent-length: 2\r\n\r\n{}"),
    "a negative length": _send_lengths("-1"),
    "two lengths": _send_lengths("5", "70"),
    "a length in words": _send_lengths(REMOTE_TEXT),
    "a length with a sign": _send_lengths("+70"),
    "a huge length": _send_lengths("9" * 30),
    "an unexpected transfer encoding": send_and_close(
        _HEAD, b"transfer-encoding: gzip\r\n\r\n", _VALID_BODY
    ),
}
_BODIES: Mapping[str, Misbehavior] = {
    "less than promised": send_and_close(
        encode_response(_VALID_BODY, length=len(_VALID_BODY) + 100)
    ),
    "truncated JSON": send_and_close(encode_response(_VALID_BODY[:-9])),
    "no body": _send_body(b""),
    "no content": send_and_close(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a sign-in page": _send_body(_SIGN_IN_PAGE, "content-type: text/html"),
    "a page that claims to be JSON": _send_body(_SIGN_IN_PAGE, "content-type: application/json"),
    "truncated UTF-16": _send_body(_VALID_BODY.decode().encode("utf-16")[:-3]),
    "a chunk without a size": _send_chunks(b"zz\r\n", _VALID_BODY),
    "a negative chunk size": _send_chunks(b"-5\r\nhello\r\n", ZERO_CHUNK),
    "a huge chunk size": _send_chunks(b"f" * 30, b"\r\n", _VALID_BODY),
    "a chunk longer than its size": _send_chunks(b"3\r\n", _VALID_BODY, b"\r\n", ZERO_CHUNK),
    "chunks without the last one": _send_chunks(b"%x\r\n" % len(_VALID_BODY), _VALID_BODY, b"\r\n"),
    "an endless chunk extension": send_repeatedly(_CHUNKED + b"5;", b"x" * 1_000),
    "endless trailers": send_repeatedly(
        _CHUNKED + b"%x\r\n" % len(_VALID_BODY) + _VALID_BODY + b"\r\n0\r\n",
        b"x: " + b"y" * 1_000 + b"\r\n",
    ),
    "unexpected compression": _send_body(gzip.compress(_VALID_BODY), "content-encoding: gzip"),
    "undeclared compression": _send_body(gzip.compress(_VALID_BODY)),
    "very deep nesting": _send_nested(MAX_NESTING),
    "deep nesting": _send_nested(500),
}
_RESETS: Mapping[str, Misbehavior] = {
    "an immediate reset": send_and_reset(),
    "a reset in the headers": send_and_reset(_HEAD, b"content-le"),
    "a reset in the body": send_and_reset(
        encode_response(_VALID_BODY, length=len(_VALID_BODY) + 100)
    ),
}
BROKEN = {**_GARBAGE, **_HEADERS, **_BODIES, **_RESETS}
"""Replies that cannot be used."""

STALLED: Mapping[str, Misbehavior] = {
    "silence": send_and_stall(),
    "a head that stops": send_and_stall(_HEAD),
    "a body that stops": send_and_stall(encode_response(_VALID_BODY, length=len(_VALID_BODY) + 1)),
    "headers that drip": send_repeatedly(_HEAD, b"x", pause=0.1),
    "a body that drips": send_repeatedly(encode_response(b"", length=10_000_000), b" ", pause=0.1),
    "chunks that drip": send_repeatedly(_CHUNKED, b"1\r\n \r\n", pause=0.1),
    "endless hints": send_repeatedly(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, pause=0.01),
}
"""Replies that never end."""


async def _until_closed(connection: ServerConnection, reply: HonestReply) -> bool:
    await connection.send(_HEAD + b"connection: close\r\n\r\n" + reply.body)
    return False


async def _with_another_version(connection: ServerConnection, reply: HonestReply) -> bool:
    await connection.send(b"HTTP/2.0 200 OK\r\n\r\n" + reply.body)
    return False


async def _with_one_byte_per_chunk(connection: ServerConnection, reply: HonestReply) -> bool:
    chunks = b"".join(b"1;hint\r\n%c\r\n" % byte for byte in reply.body)
    await connection.send(_CHUNKED + chunks + ZERO_CHUNK)
    return True


async def _after_hints(connection: ServerConnection, reply: HonestReply) -> bool:
    await connection.send(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" * 200 + reply.encoded)
    return True


async def _with_cookies(connection: ServerConnection, reply: HonestReply) -> bool:
    await connection.send(
        encode_response(reply.body, "content-type: text/html", f"set-cookie: a={REMOTE_TEXT}")
    )
    return True


def _replace_in_body(pattern: re.Pattern[bytes], replacement: bytes) -> Misbehavior:
    return alter_body(partial(pattern.sub, replacement))


UNUSUAL: Mapping[str, Misbehavior] = {
    "a body that ends with the connection": _until_closed,
    "another version": _with_another_version,
    "one byte per chunk": _with_one_byte_per_chunk,
    "hints first": _after_hints,
    "a cookie and another content type": _with_cookies,
    "a byte order mark": alter_body(lambda body: b"\xef\xbb\xbf" + body),
    "UTF-16": alter_body(lambda body: body.decode().encode("utf-16")),
    "half an emoji": alter_body(lambda body: body.replace(b"{", b'{"x": "\\ud800", ', 1)),
    "ids as floats": alter_body(lambda body: _ID.sub(rb"\g<0>.0", body)),
    "an infinite number": alter_body(lambda body: body.replace(b"{", b'{"count": 1e999, ', 1)),
}
"""Unusual replies that are true: they may be accepted."""

INVALID_IDS: Mapping[str, Misbehavior] = {
    value: _replace_in_body(_ID, f'"id": {value}'.encode())
    for value in (
        *("true", "null", "-0", "0", "-1", "1701.5", "1e999", "-1e999", "NaN", "Infinity"),
        *("{}", "[1701]", '"1701x"', '""', "9223372036854775808", "1" + "0" * 400),
    )
}
"""Honest replies whose objects have an impossible id."""

UNCLEAR_STATUSES: Mapping[str, Misbehavior] = {
    value: _replace_in_body(_STATUS, f'"status": {value}'.encode())
    for value in ('"true"', "1", "1.0", "NaN", "200.0", "1e999", "{}", "[true]", "302", "2e2")
}
"""Honest replies that do not say whether the request succeeded."""
