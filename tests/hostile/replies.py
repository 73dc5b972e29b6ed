"""Answers that no honest cloud gives, as tricks of a raw cloud; by what each of them is."""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from functools import partial

import anyio

from tests.hostile.raw_cloud import ServerConnection, HonestReply, Misbehavior, encode_response
from tests.hostile.scene import REMOTE_TEXT

BLOCK_BYTES = 64 * 1024
MAX_NESTING = 100_000
ZERO_CHUNK = b"0\r\n\r\n"

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"
_VALID_BODY = json.dumps({"status": True, "message": REMOTE_TEXT, "snapshots": [], "count": 0}).encode()
_SIGN_IN_PAGE = f"<!doctype html><html><title>Sign in</title><p>{REMOTE_TEXT}</p></html>".encode()
_ID = re.compile(rb'"id":\s*\d+')
_STATUS = re.compile(rb'"status":\s*(true|200)')


def send_and_close(*parts: bytes) -> Misbehavior:
    """Send these bytes, and close the connection."""

    async def trick(line: ServerConnection, _: HonestReply) -> bool:
        await line.send(b"".join(parts))
        return False

    return trick


def alter_body(change: Callable[[bytes], bytes]) -> Misbehavior:
    """Answer with what `change` makes of the honest body, and keep the connection."""

    async def trick(line: ServerConnection, said: HonestReply) -> bool:
        await line.send(encode_response(change(said.body)))
        return True

    return trick


def send_and_reset(*parts: bytes) -> Misbehavior:
    """Send these bytes, and break the connection off."""

    async def trick(line: ServerConnection, _: HonestReply) -> bool:
        await line.send(b"".join(parts))
        line.reset()
        return False

    return trick


def send_and_stall(*parts: bytes) -> Misbehavior:
    """Send these bytes, and then nothing more, for ever."""

    async def trick(line: ServerConnection, _: HonestReply) -> bool:
        await line.send(b"".join(parts))
        await anyio.sleep_forever()
        return False

    return trick


def send_repeatedly(head: bytes, part: bytes, *, at_most: int | None = None, pause: float = 0) -> Misbehavior:
    """Send `part` again and again, until so many bytes have gone or the other end has left."""

    async def trick(line: ServerConnection, _: HonestReply) -> bool:
        await line.send(head)
        before = line.sent
        while at_most is None or line.sent - before < at_most:
            await line.send(part)
            # Without a rest the other end, which is in this process, would never have its turn.
            await anyio.sleep(pause)
        return False

    return trick


def compression_bomb(size: int) -> bytes:
    """So many bytes, packed, and packed again."""
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
    "nothing at all": send_and_close(),
    "HTTP/0.9": send_and_close(f"Welcome to {REMOTE_TEXT}\n".encode()),
    "a page without a head": send_and_close(_SIGN_IN_PAGE),
    "another protocol": send_and_close(f"ICY 200 {REMOTE_TEXT}\r\n\r\n".encode(), _VALID_BODY),
    "a TLS alert": send_and_close(b"\x15\x03\x03\x00\x02\x02\x28"),
    "bytes of nothing": send_and_close(bytes(range(256)) * 8),
    "null bytes": send_and_close(bytes(4096)),
    "a status of no digits": send_and_close(f"HTTP/1.1 OK {REMOTE_TEXT}\r\n\r\n".encode()),
    "a status of two digits": send_and_close(b"HTTP/1.1 20 OK\r\n\r\n", _VALID_BODY),
    "a status of four digits": send_and_close(b"HTTP/1.1 2000 OK\r\n\r\n", _VALID_BODY),
    "a status beyond all": _send_body(_VALID_BODY, status=f"999 {REMOTE_TEXT}"),
    "another protocol from now on": send_and_close(b"HTTP/1.1 101 Switching\r\n\r\n", _VALID_BODY),
}
_HEADERS: Mapping[str, Misbehavior] = {
    "headers without end": send_repeatedly(_HEAD, b"x-more: " + b"y" * 1_000 + b"\r\n"),
    "a header line without end": send_repeatedly(_HEAD + b"x-more: ", b"y" * 1_000),
    "a status line without end": send_repeatedly(b"HTTP/1.1 200 ", b"y" * 1_000),
    "a header of no name": send_and_close(_HEAD, f": {REMOTE_TEXT}\r\ncontent-length: 2\r\n\r\n{{}}".encode()),
    "a header with a null": send_and_close(_HEAD, b"x: a\0b\r\ncontent-length: 2\r\n\r\n{}"),
    "a length below zero": _send_lengths("-1"),
    "two lengths": _send_lengths("5", "70"),
    "a length of words": _send_lengths(REMOTE_TEXT),
    "a length with a sign": _send_lengths("+70"),
    "a length beyond all": _send_lengths("9" * 30),
    "a coding that nobody asked for": send_and_close(_HEAD, b"transfer-encoding: gzip\r\n\r\n", _VALID_BODY),
}
_BODIES: Mapping[str, Misbehavior] = {
    "less than promised": send_and_close(encode_response(_VALID_BODY, length=len(_VALID_BODY) + 100)),
    "half of a JSON text": send_and_close(encode_response(_VALID_BODY[:-9])),
    "no body": _send_body(b""),
    "no content": send_and_close(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a page to sign in": _send_body(_SIGN_IN_PAGE, "content-type: text/html"),
    "a page that claims to be JSON": _send_body(_SIGN_IN_PAGE, "content-type: application/json"),
    "letters that are none": _send_body(_VALID_BODY.replace(b"R3", b"\xff\xfe\xc0")),
    "half of a UTF-16 text": _send_body(_VALID_BODY.decode().encode("utf-16")[:-3]),
    "a chunk of no size": _send_chunks(b"zz\r\n", _VALID_BODY),
    "a chunk below zero": _send_chunks(b"-5\r\nhello\r\n", ZERO_CHUNK),
    "a chunk beyond all": _send_chunks(b"f" * 30, b"\r\n", _VALID_BODY),
    "a chunk that is longer": _send_chunks(b"3\r\n", _VALID_BODY, b"\r\n", ZERO_CHUNK),
    "chunks without an end": _send_chunks(b"%x\r\n" % len(_VALID_BODY), _VALID_BODY, b"\r\n"),
    "a remark on a chunk without end": send_repeatedly(_CHUNKED + b"5;", b"x" * 1_000),
    "trailers without end": send_repeatedly(
        _CHUNKED + b"%x\r\n" % len(_VALID_BODY) + _VALID_BODY + b"\r\n0\r\n", b"x: " + b"y" * 1_000 + b"\r\n"
    ),
    "packed unasked": _send_body(gzip.compress(_VALID_BODY), "content-encoding: gzip"),
    "packed, as it does not say": _send_body(gzip.compress(_VALID_BODY)),
    "levels without end": _send_nested(MAX_NESTING),
    "levels that one parser takes": _send_nested(500),
}
_RESETS: Mapping[str, Misbehavior] = {
    "a reset at once": send_and_reset(),
    "a reset among the headers": send_and_reset(_HEAD, b"content-le"),
    "a reset in the body": send_and_reset(encode_response(_VALID_BODY, length=len(_VALID_BODY) + 100)),
}
BROKEN = {**_GARBAGE, **_HEADERS, **_BODIES, **_RESETS}
"""No usable answer."""

STALLED: Mapping[str, Misbehavior] = {
    "silence": send_and_stall(),
    "a head that goes no further": send_and_stall(_HEAD),
    "a body that goes no further": send_and_stall(encode_response(_VALID_BODY, length=len(_VALID_BODY) + 1)),
    "headers that drip": send_repeatedly(_HEAD, b"x", pause=0.1),
    "a body that drips": send_repeatedly(encode_response(b"", length=10_000_000), b" ", pause=0.1),
    "chunks that drip": send_repeatedly(_CHUNKED, b"1\r\n \r\n", pause=0.1),
    "hints without end": send_repeatedly(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, pause=0.01),
}
"""An answer that does not end by itself."""


async def _until_closed(line: ServerConnection, said: HonestReply) -> bool:
    await line.send(_HEAD + b"connection: close\r\n\r\n" + said.body)
    return False


async def _of_another_version(line: ServerConnection, said: HonestReply) -> bool:
    await line.send(b"HTTP/2.0 200 OK\r\n\r\n" + said.body)
    return False


async def _one_byte_a_chunk(line: ServerConnection, said: HonestReply) -> bool:
    chunks = b"".join(b"1;hint\r\n%c\r\n" % byte for byte in said.body)
    await line.send(_CHUNKED + chunks + ZERO_CHUNK)
    return True


async def _after_hints(line: ServerConnection, said: HonestReply) -> bool:
    await line.send(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" * 200 + said.whole)
    return True


async def _with_cookies(line: ServerConnection, said: HonestReply) -> bool:
    await line.send(encode_response(said.body, "content-type: text/html", f"set-cookie: a={REMOTE_TEXT}"))
    return True


def _replace_in_body(pattern: re.Pattern[bytes], replacement: bytes) -> Misbehavior:
    return alter_body(partial(pattern.sub, replacement))


UNUSUAL: Mapping[str, Misbehavior] = {
    "a body that ends with the connection": _until_closed,
    "another version": _of_another_version,
    "a byte a chunk": _one_byte_a_chunk,
    "hints first": _after_hints,
    "a cookie, and another type": _with_cookies,
    "a byte order mark": alter_body(lambda body: b"\xef\xbb\xbf" + body),
    "UTF-16": alter_body(lambda body: body.decode().encode("utf-16")),
    "half an emoji": alter_body(lambda body: body.replace(b"{", b'{"x": "\\ud800", ', 1)),
    "ids as floats": alter_body(lambda body: _ID.sub(rb"\g<0>.0", body)),
    "a number beyond all": alter_body(lambda body: body.replace(b"{", b'{"count": 1e999, ', 1)),
}
"""Strange, but it says what is so: it may be read."""

INVALID_IDS: Mapping[str, Misbehavior] = {
    value: _replace_in_body(_ID, f'"id": {value}'.encode())
    for value in (
        *("true", "null", "-0", "0", "-1", "1701.5", "1e999", "-1e999", "NaN", "Infinity"),
        *("{}", "[1701]", '"1701x"', '""', "9223372036854775808", "1" + "0" * 400),
    )
}
"""The honest answer, but whatever it is about has no id that could be one."""

UNCLEAR_STATUSES: Mapping[str, Misbehavior] = {
    value: _replace_in_body(_STATUS, f'"status": {value}'.encode())
    for value in ('"true"', "1", "1.0", "NaN", "200.0", "1e999", "{}", "[true]", "302", "2e2")
}
"""The honest answer, but whether it worked is not to be told."""
