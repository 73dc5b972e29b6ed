"""The embedded cloud behind a raw TCP server, which can reply to a request with any bytes."""

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
    """One request as the server received it."""

    method: str
    target: str
    head: bytes
    body: bytes


class HonestReply(NamedTuple):
    """The correct reply to a request."""

    status: int
    body: bytes

    @property
    def encoded(self) -> bytes:
        return encode_response(self.body, status=f"{self.status} Honest")


class ServerConnection:
    """The server's end of one connection.

    Attributes:
        bytes_sent: bytes that the client or the buffers in between have accepted.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._socket: socket.socket = writer.get_extra_info("socket")
        # Large buffers would accept megabytes that the client never reads.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        writer.transport.set_write_buffer_limits(high=0)
        self.bytes_sent = 0

    async def send(self, data: bytes) -> None:
        """Write `data`. Raise OSError if the client has left."""
        self._writer.write(data)
        await self._writer.drain()
        self.bytes_sent += len(data)

    def close(self) -> None:
        """Close the connection after the written data."""
        self._writer.close()

    def reset(self) -> None:
        """Reset the connection, as a restarted machine does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


Misbehavior = Callable[[ServerConnection, HonestReply], Awaitable[bool]]
"""Replies instead of the cloud; returns whether the connection stays in use."""


def encode_response(
    body: bytes, *headers: str, status: str = "200 OK", length: int | None = None
) -> bytes:
    """Return the bytes of a response; `length` replaces the true length of the body."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class RawCloud:
    """The cloud on its own port.

    Attributes:
        requests: every request.
        misbehavior: replies instead of the cloud to requests that `applies_to` selects.
        never_executed: a write that contains one of these is reported as done, but never reaches
            the cloud.
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
        """Number of connections."""
        return len(self._connections)

    @property
    def bytes_sent(self) -> int:
        """Number of bytes that clients have accepted."""
        return sum(connection.bytes_sent for connection in self._connections)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["RawCloud"]:
        """Serve until the end of the block, then drop every connection."""
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
        """Return the reply of the cloud without a network in between."""
        response = await self._cloud.request(method, target, content=body)
        return HonestReply(response.status_code, response.content)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ServerConnection(writer)
        self._connections.append(connection)
        try:
            # The client leaves during most misbehaviors.
            with suppress(OSError, EOFError):
                while await self._reply(await _read_request(reader), connection):
                    pass
        finally:
            connection.close()

    async def _reply(self, request: ReceivedRequest, connection: ServerConnection) -> bool:
        self.requests.append(request)
        reply = await self._execute(request)
        if self.misbehavior is not None and self.applies_to(request):
            return await self.misbehavior(connection, reply)
        await connection.send(reply.encoded)
        return True

    async def _execute(self, request: ReceivedRequest) -> HonestReply:
        if request.method != "GET" and self._is_never_executed(request):
            return HonestReply(
                200, b'{"status": true, "snapshot": {"id": 9}, "instance": {"id": 9}}'
            )
        return await self.reply_honestly(request.method, request.target, request.body)

    def _is_never_executed(self, request: ReceivedRequest) -> bool:
        text = request.target.encode() + b" " + request.body
        return any(part in text for part in self.never_executed)


async def _read_request(reader: asyncio.StreamReader) -> ReceivedRequest:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    method, target, _ = head.decode().split(" ", 2)
    return ReceivedRequest(method, target, head, body)
