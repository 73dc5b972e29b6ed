"""The client over Streamable HTTP: one connection, one session, raw, the same for all."""

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
_INFO = {"name": "bench", "version": "1"}


class HttpSession:
    """A session with a server.

    Args:
        stream: the connection, which is used for nothing else.
        port: where it leads.
        token: what is presented with every request; empty for nothing.
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
        """Shake hands."""
        params = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": _INFO}
        head, _ = await self._post({"id": 1, "method": "initialize", "params": params})
        session = _SESSION.search(head)
        if session is not None:
            self._head += f"mcp-session-id: {session[1].decode()}\r\n"
        await self._post({"method": "notifications/initialized"})

    async def call(self, tool: str, arguments: Mapping[str, object]) -> bytes:
        """Call a tool, which must succeed; the body of the answer as it came."""
        params = {"name": tool, "arguments": arguments}
        _, body = await self._post({"id": 2, "method": "tools/call", "params": params})
        if b'"content"' not in body or b'"isError":true' in body:
            raise RuntimeError(f"The tool did not work: {body[:500]!r}")
        return body

    async def _post(self, message: Mapping[str, object]) -> tuple[bytes, bytes]:
        body = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":"))
        request = f"{self._head}content-length: {len(body)}\r\n\r\n{body}"
        await self._stream.send(request.encode())
        head, body = await self._answer()
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"The server refused: {head!r} {body[:500]!r}")
        return head, body

    async def _answer(self) -> tuple[bytes, bytes]:
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += await self._stream.receive(_CHUNK_BYTES)
        head = bytes(received[:end])
        length = _LENGTH.search(head)
        body_at = end + 4
        # JSON holds no bare line ends, so nothing within a body looks like the last chunk.
        while (
            len(received) < body_at + int(length[1])
            if length
            else not received.endswith(_LAST_CHUNK, body_at - 2)
        ):
            received += await self._stream.receive(_CHUNK_BYTES)
        return head, bytes(received[body_at:])


@asynccontextmanager
async def http_session(port: int, token: str = "") -> AsyncGenerator[HttpSession]:
    """A session, past its handshake."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        session = HttpSession(stream, port, token)
        await session.initialize()
        yield session
