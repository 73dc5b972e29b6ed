"""The embedded cloud behind a raw TCP server, which can answer a request with any bytes at all."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx

from snapshot_mcp.sandbox.app import create_app

KEY = "k3y-7b1c94e2-not-for-strangers"

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_RESET = struct.pack("ii", 1, 0)
_BUFFER_BYTES = 64 * 1024


class Asked(NamedTuple):
    """One request, as it came."""

    method: str
    target: str
    head: bytes
    body: bytes


class Said(NamedTuple):
    """The honest answer to it."""

    status: int
    body: bytes

    @property
    def whole(self) -> bytes:
        return answer(self.body, status=f"{self.status} Honest")


class Line:
    """The server's end of one connection.

    Attributes:
        sent: bytes that the other end, or the buffers on the way to it, have taken.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._socket: socket.socket = writer.get_extra_info("socket")
        # Small buffers, or megabytes would count as sent that nobody has read.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        writer.transport.set_write_buffer_limits(high=0)
        self.sent = 0

    async def send(self, data: bytes) -> None:
        """Write `data`; raises OSError when the other end is gone."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    def hang_up(self) -> None:
        """Close it in the usual way, what was written first."""
        self._writer.close()

    def reset(self) -> None:
        """Break it off, as a machine does that lost its memory."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


Trick = Callable[[Line, Said], Awaitable[bool]]
"""Answers in place of the cloud; whether the connection is used further."""


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """The bytes of an answer; `length` lies about the body's."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class RawCloud:
    """The cloud at a port of its own.

    Attributes:
        seen: every request.
        trick: answers in place of the cloud, where `is_tricked` says so.
        never_done: a write that holds one of these is told to have worked, and never reaches the
            cloud.
    """

    def __init__(self, database: Path, now: Callable[[], datetime]) -> None:
        app = create_app(database=database, api_key=KEY, now=now)
        self._honest = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://cloud.invalid",
            headers={"api_key": KEY},
        )
        self._port = 0
        self.seen: list[Asked] = []
        self._lines: list[Line] = []
        self.trick: Trick | None = None
        self.is_tricked: Callable[[Asked], bool] = lambda _: True
        self.never_done: Collection[bytes] = ()

    @property
    def connections(self) -> int:
        """How many were made."""
        return len(self._lines)

    @property
    def sent(self) -> int:
        """How many bytes the other end has taken."""
        return sum(line.sent for line in self._lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["RawCloud"]:
        """Serve until the end of the block, and then drop every connection."""
        async with self._honest, anyio.create_task_group() as tasks:
            server = await asyncio.start_server(
                lambda reader, writer: tasks.start_soon(self._serve, reader, writer), "127.0.0.1"
            )
            self._port = server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                server.close()
                tasks.cancel_scope.cancel()

    async def honest(self, method: str, target: str, body: bytes = b"") -> Said:
        """What the cloud says when it is asked without a network between."""
        response = await self._honest.request(method, target, content=body)
        return Said(response.status_code, response.content)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer)
        self._lines.append(line)
        try:
            # The other end leaves in the midst of most tricks.
            with suppress(OSError, EOFError):
                while await self._answer(await _request(reader), line):
                    pass
        finally:
            line.hang_up()

    async def _answer(self, asked: Asked, line: Line) -> bool:
        self.seen.append(asked)
        said = await self._done(asked)
        if self.trick is not None and self.is_tricked(asked):
            return await self.trick(line, said)
        await line.send(said.whole)
        return True

    async def _done(self, asked: Asked) -> Said:
        if asked.method != "GET" and self._is_never_done(asked):
            return Said(200, b'{"status": true, "snapshot": {"id": 9}, "instance": {"id": 9}}')
        return await self.honest(asked.method, asked.target, asked.body)

    def _is_never_done(self, asked: Asked) -> bool:
        whole = asked.target.encode() + b" " + asked.body
        return any(part in whole for part in self.never_done)


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    method, target, _ = head.decode().split(" ", 2)
    return Asked(method, target, head, body)
