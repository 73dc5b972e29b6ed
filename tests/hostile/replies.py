"""Answers that no honest cloud gives, as tricks of a raw cloud; by what each of them is."""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from functools import partial

import anyio

from tests.hostile.raw_cloud import Line, Said, Trick, answer
from tests.hostile.scene import REMOTE

BLOCK = 64 * 1024
DEEPEST = 100_000
ZERO_CHUNK = b"0\r\n\r\n"

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"
_FINE = json.dumps({"status": True, "message": REMOTE, "snapshots": [], "count": 0}).encode()
_PAGE = f"<!doctype html><html><title>Sign in</title><p>{REMOTE}</p></html>".encode()
_ID = re.compile(rb'"id":\s*\d+')
_STATUS = re.compile(rb'"status":\s*(true|200)')


def says(*parts: bytes) -> Trick:
    """Send these bytes, and close the connection."""

    async def trick(line: Line, _: Said) -> bool:
        await line.send(b"".join(parts))
        return False

    return trick


def alters(change: Callable[[bytes], bytes]) -> Trick:
    """Answer with what `change` makes of the honest body, and keep the connection."""

    async def trick(line: Line, said: Said) -> bool:
        await line.send(answer(change(said.body)))
        return True

    return trick


def resets(*parts: bytes) -> Trick:
    """Send these bytes, and break the connection off."""

    async def trick(line: Line, _: Said) -> bool:
        await line.send(b"".join(parts))
        line.reset()
        return False

    return trick


def holds(*parts: bytes) -> Trick:
    """Send these bytes, and then nothing more, for ever."""

    async def trick(line: Line, _: Said) -> bool:
        await line.send(b"".join(parts))
        await anyio.sleep_forever()
        return False

    return trick


def pours(head: bytes, part: bytes, *, at_most: int | None = None, pause: float = 0) -> Trick:
    """Send `part` again and again, until so many bytes have gone or the other end has left."""

    async def trick(line: Line, _: Said) -> bool:
        await line.send(head)
        before = line.sent
        while at_most is None or line.sent - before < at_most:
            await line.send(part)
            # Without a rest the other end, which is in this process, would never have its turn.
            await anyio.sleep(pause)
        return False

    return trick


def bomb(size: int) -> bytes:
    """So many bytes, packed, and packed again."""
    return gzip.compress(gzip.compress(bytes(size)))


def _body(body: bytes, *headers: str, status: str = "200 OK") -> Trick:
    return says(answer(body, *headers, status=status))


def _lengths(*lengths: str) -> Trick:
    lines = b"".join(f"content-length: {length}\r\n".encode() for length in lengths)
    return says(_HEAD, lines, b"\r\n", _FINE)


def _chunks(*parts: bytes) -> Trick:
    return says(_CHUNKED, *parts)


def _nested(levels: int) -> Trick:
    deep = b"[" * levels + b"]" * levels
    return _body(b'{"status": true, "snapshot": ' + deep + b', "snapshots": ' + deep)


_GARBAGE: Mapping[str, Trick] = {
    "nothing at all": says(),
    "HTTP/0.9": says(f"Welcome to {REMOTE}\n".encode()),
    "a page without a head": says(_PAGE),
    "another protocol": says(f"ICY 200 {REMOTE}\r\n\r\n".encode(), _FINE),
    "a TLS alert": says(b"\x15\x03\x03\x00\x02\x02\x28"),
    "bytes of nothing": says(bytes(range(256)) * 8),
    "null bytes": says(bytes(4096)),
    "a status of no digits": says(f"HTTP/1.1 OK {REMOTE}\r\n\r\n".encode()),
    "a status of two digits": says(b"HTTP/1.1 20 OK\r\n\r\n", _FINE),
    "a status of four digits": says(b"HTTP/1.1 2000 OK\r\n\r\n", _FINE),
    "a status beyond all": _body(_FINE, status=f"999 {REMOTE}"),
    "another protocol from now on": says(b"HTTP/1.1 101 Switching\r\n\r\n", _FINE),
}
_HEADERS: Mapping[str, Trick] = {
    "headers without end": pours(_HEAD, b"x-more: " + b"y" * 1_000 + b"\r\n"),
    "a header line without end": pours(_HEAD + b"x-more: ", b"y" * 1_000),
    "a status line without end": pours(b"HTTP/1.1 200 ", b"y" * 1_000),
    "a header of no name": says(_HEAD, f": {REMOTE}\r\ncontent-length: 2\r\n\r\n{{}}".encode()),
    "a header with a null": says(_HEAD, b"x: a\0b\r\ncontent-length: 2\r\n\r\n{}"),
    "a length below zero": _lengths("-1"),
    "two lengths": _lengths("5", "70"),
    "a length of words": _lengths(REMOTE),
    "a length with a sign": _lengths("+70"),
    "a length beyond all": _lengths("9" * 30),
    "a coding that nobody asked for": says(_HEAD, b"transfer-encoding: gzip\r\n\r\n", _FINE),
}
_BODIES: Mapping[str, Trick] = {
    "less than promised": says(answer(_FINE, length=len(_FINE) + 100)),
    "half of a JSON text": says(answer(_FINE[:-9])),
    "no body": _body(b""),
    "no content": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a page to sign in": _body(_PAGE, "content-type: text/html"),
    "a page that claims to be JSON": _body(_PAGE, "content-type: application/json"),
    "letters that are none": _body(_FINE.replace(b"R3", b"\xff\xfe\xc0")),
    "half of a UTF-16 text": _body(_FINE.decode().encode("utf-16")[:-3]),
    "a chunk of no size": _chunks(b"zz\r\n", _FINE),
    "a chunk below zero": _chunks(b"-5\r\nhello\r\n", ZERO_CHUNK),
    "a chunk beyond all": _chunks(b"f" * 30, b"\r\n", _FINE),
    "a chunk that is longer": _chunks(b"3\r\n", _FINE, b"\r\n", ZERO_CHUNK),
    "chunks without an end": _chunks(b"%x\r\n" % len(_FINE), _FINE, b"\r\n"),
    "a remark on a chunk without end": pours(_CHUNKED + b"5;", b"x" * 1_000),
    "trailers without end": pours(
        _CHUNKED + b"%x\r\n" % len(_FINE) + _FINE + b"\r\n0\r\n", b"x: " + b"y" * 1_000 + b"\r\n"
    ),
    "packed unasked": _body(gzip.compress(_FINE), "content-encoding: gzip"),
    "packed, as it does not say": _body(gzip.compress(_FINE)),
    "levels without end": _nested(DEEPEST),
    "levels that one parser takes": _nested(500),
}
_RESETS: Mapping[str, Trick] = {
    "a reset at once": resets(),
    "a reset among the headers": resets(_HEAD, b"content-le"),
    "a reset in the body": resets(answer(_FINE, length=len(_FINE) + 100)),
}
BROKEN = {**_GARBAGE, **_HEADERS, **_BODIES, **_RESETS}
"""No usable answer."""

STALLED: Mapping[str, Trick] = {
    "silence": holds(),
    "a head that goes no further": holds(_HEAD),
    "a body that goes no further": holds(answer(_FINE, length=len(_FINE) + 1)),
    "headers that drip": pours(_HEAD, b"x", pause=0.1),
    "a body that drips": pours(answer(b"", length=10_000_000), b" ", pause=0.1),
    "chunks that drip": pours(_CHUNKED, b"1\r\n \r\n", pause=0.1),
    "hints without end": pours(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, pause=0.01),
}
"""An answer that does not end by itself."""


async def _until_closed(line: Line, said: Said) -> bool:
    await line.send(_HEAD + b"connection: close\r\n\r\n" + said.body)
    return False


async def _of_another_version(line: Line, said: Said) -> bool:
    await line.send(b"HTTP/2.0 200 OK\r\n\r\n" + said.body)
    return False


async def _one_byte_a_chunk(line: Line, said: Said) -> bool:
    chunks = b"".join(b"1;hint\r\n%c\r\n" % byte for byte in said.body)
    await line.send(_CHUNKED + chunks + ZERO_CHUNK)
    return True


async def _after_hints(line: Line, said: Said) -> bool:
    await line.send(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" * 200 + said.whole)
    return True


async def _with_cookies(line: Line, said: Said) -> bool:
    await line.send(answer(said.body, "content-type: text/html", f"set-cookie: a={REMOTE}"))
    return True


def _edits(pattern: re.Pattern[bytes], replacement: bytes) -> Trick:
    return alters(partial(pattern.sub, replacement))


ODD: Mapping[str, Trick] = {
    "a body that ends with the connection": _until_closed,
    "another version": _of_another_version,
    "a byte a chunk": _one_byte_a_chunk,
    "hints first": _after_hints,
    "a cookie, and another type": _with_cookies,
    "a byte order mark": alters(lambda body: b"\xef\xbb\xbf" + body),
    "UTF-16": alters(lambda body: body.decode().encode("utf-16")),
    "half an emoji": alters(lambda body: body.replace(b"{", b'{"x": "\\ud800", ', 1)),
    "ids as floats": alters(lambda body: _ID.sub(rb"\g<0>.0", body)),
    "a number beyond all": alters(lambda body: body.replace(b"{", b'{"count": 1e999, ', 1)),
}
"""Strange, but it says what is so: it may be read."""

NO_IDS: Mapping[str, Trick] = {
    value: _edits(_ID, f'"id": {value}'.encode())
    for value in (
        *("true", "null", "-0", "0", "-1", "1701.5", "1e999", "-1e999", "NaN", "Infinity"),
        *("{}", "[1701]", '"1701x"', '""', "9223372036854775808", "1" + "0" * 400),
    )
}
"""The honest answer, but whatever it is about has no id that could be one."""

UNDECIDED: Mapping[str, Trick] = {
    value: _edits(_STATUS, f'"status": {value}'.encode())
    for value in ('"true"', "1", "1.0", "NaN", "200.0", "1e999", "{}", "[true]", "302", "2e2")
}
"""The honest answer, but whether it worked is not to be told."""
