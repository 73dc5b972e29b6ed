"""The client over Streamable HTTP: one connection and one session, the same for all servers."""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketStream

from bench.stdio_client import PROTOCOL

_CHUNK_BYTES = 1 << 18
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SESSION = re.compile(rb"mcp-session-id: *([^\r]+)", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_CLIENT_INFO = {"name": "bench", "version": "1"}


class HttpSession:
    """A session with a server.

    Args:
        stream: a connection that only this session uses.
        port: the port of the server.
        token: the bearer token of every request; empty for none.
    """

    def __init__(self, stream: SocketStream, port: int, token: str = "") -> None:
        self._stream = stream
        self._head = (
            f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
            f"accept: application/json, text/event-stream\r\nmcp-protocol-version: {PROTOCOL}\r\n"
        )
        if token:
            self._head += f"authorization: Bearer {token}\r\n"

    async def initialize(self) -> None:
        """Initialize the session."""
        params = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": _CLIENT_INFO}
        head, _ = await self._post({"id": 1, "method": "initialize", "params": params})
        session = _SESSION.search(head)
        if session is not None:
            self._head += f"mcp-session-id: {session[1].decode()}\r\n"
        await self._post({"method": "notifications/initialized"})

    async def call(self, tool: str, arguments: Mapping[str, object]) -> bytes:
        """Call a tool, which must succeed, and return the body of the answer."""
        params = {"name": tool, "arguments": arguments}
        _, body = await self._post({"id": 2, "method": "tools/call", "params": params})
        if b'"content"' not in body or b'"isError":true' in body:
            raise RuntimeError(f"The tool call failed: {body[:500]!r}")
        return body

    async def _post(self, message: Mapping[str, object]) -> tuple[bytes, bytes]:
        body = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":"))
        request = f"{self._head}content-length: {len(body)}\r\n\r\n{body}"
        await self._stream.send(request.encode())
        head, body = await self._read_answer()
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"The server refused the request: {head!r} {body[:500]!r}")
        return head, body

    async def _read_answer(self) -> tuple[bytes, bytes]:
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += await self._stream.receive(_CHUNK_BYTES)
        head = bytes(received[:end])
        length = _LENGTH.search(head)
        body_start = end + 4
        # JSON contains no unescaped line ends, so no body contains the bytes of the last chunk.
        while (
            len(received) < body_start + int(length[1])
            if length
            else not received.endswith(_LAST_CHUNK, body_start - 2)
        ):
            received += await self._stream.receive(_CHUNK_BYTES)
        return head, bytes(received[body_start:])


@asynccontextmanager
async def open_session(port: int, token: str = "") -> AsyncGenerator[HttpSession]:
    """Connect and yield an initialized session."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        session = HttpSession(stream, port, token)
        await session.initialize()
        yield session
