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


class ReceivedRequest(NamedTuple):
    """One request, as it came."""

    method: str
    target: str
    head: bytes
    body: bytes


class HonestReply(NamedTuple):
    """The honest answer to it."""

    status: int
    body: bytes

    @property
    def whole(self) -> bytes:
        return encode_response(self.body, status=f"{self.status} Honest")


class ServerConnection:
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


Misbehavior = Callable[[ServerConnection, HonestReply], Awaitable[bool]]
"""Answers in place of the cloud; whether the connection is used further."""


def encode_response(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
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
        self._cloud = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://cloud.invalid",
            headers={"api_key": KEY},
        )
        self._port = 0
        self.requests: list[ReceivedRequest] = []
        self._connections: list[ServerConnection] = []
        self.misbehavior: Misbehavior | None = None
        self.applies_to: Callable[[ReceivedRequest], bool] = lambda _: True
        self.never_executed: Collection[bytes] = ()

    @property
    def connection_count(self) -> int:
        """How many were made."""
        return len(self._connections)

    @property
    def bytes_sent(self) -> int:
        """How many bytes the other end has taken."""
        return sum(line.sent for line in self._connections)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["RawCloud"]:
        """Serve until the end of the block, and then drop every connection."""
        async with self._cloud, anyio.create_task_group() as tasks:
            server = await asyncio.start_server(
                lambda reader, writer: tasks.start_soon(self._serve, reader, writer), "127.0.0.1"
            )
            self._port = server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                server.close()
                tasks.cancel_scope.cancel()

    async def reply_honestly(self, method: str, target: str, body: bytes = b"") -> HonestReply:
        """What the cloud says when it is asked without a network between."""
        response = await self._cloud.request(method, target, content=body)
        return HonestReply(response.status_code, response.content)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = ServerConnection(writer)
        self._connections.append(line)
        try:
            # The other end leaves in the midst of most tricks.
            with suppress(OSError, EOFError):
                while await self._reply(await _read_request(reader), line):
                    pass
        finally:
            line.hang_up()

    async def _reply(self, asked: ReceivedRequest, line: ServerConnection) -> bool:
        self.requests.append(asked)
        said = await self._execute(asked)
        if self.misbehavior is not None and self.applies_to(asked):
            return await self.misbehavior(line, said)
        await line.send(said.whole)
        return True

    async def _execute(self, asked: ReceivedRequest) -> HonestReply:
        if asked.method != "GET" and self._is_never_executed(asked):
            return HonestReply(200, b'{"status": true, "snapshot": {"id": 9}, "instance": {"id": 9}}')
        return await self.reply_honestly(asked.method, asked.target, asked.body)

    def _is_never_executed(self, asked: ReceivedRequest) -> bool:
        whole = asked.target.encode() + b" " + asked.body
        return any(part in whole for part in self.never_executed)


async def _read_request(reader: asyncio.StreamReader) -> ReceivedRequest:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    method, target, _ = head.decode().split(" ", 2)
    return ReceivedRequest(method, target, head, body)
