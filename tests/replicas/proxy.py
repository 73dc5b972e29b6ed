"""A round-robin proxy on loopback that records the requests and their times."""

import json
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import NamedTuple, cast

import anyio
import httpx
import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

_HOP_BY_HOP_HEADERS = (
    b"host",
    b"connection",
    b"transfer-encoding",
    b"content-length",
    b"keep-alive",
)


class ForwardedRequest(NamedTuple):
    """A forwarded request: time of arrival, method, path, name in its body, and status."""

    at: float
    method: str
    path: str
    name: str
    status: int


class Proxy:
    """Forwards each request to the next target; no request reaches two targets."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = targets
        self._turn = count()
        self._client = httpx.AsyncClient(
            timeout=300, limits=httpx.Limits(max_connections=200, max_keepalive_connections=0)
        )
        self.arrivals: list[float] = []
        self.forwarded: list[ForwardedRequest] = []
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.arrivals.append(at := time.monotonic())
        body = await request.body()
        status = await self._forward(request, body, send)
        name = _name(body)
        self.forwarded.append(ForwardedRequest(at, request.method, request.url.path, name, status))

    async def _forward(self, request: Request, body: bytes, send: Send) -> int:
        headers = [header for header in request.headers.raw if header[0] not in _HOP_BY_HOP_HEADERS]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        first = next(self._turn)
        for offset in range(len(self._targets)):
            target = self._targets[(first + offset) % len(self._targets)]
            forwarded = self._client.build_request(
                request.method, target + path, headers=headers, content=body
            )
            try:
                response = await self._client.send(forwarded, stream=True)
            except httpx.ConnectError:
                continue  # nothing was sent, so the next target may get it
            except httpx.TransportError:
                break
            try:
                return await _send_response(response, send)
            finally:
                await response.aclose()
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return 502

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["Proxy"]:
        """Serve on a free port of 127.0.0.1."""
        config = uvicorn.Config(self, log_config=None, lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            try:
                yield self
            finally:
                server.should_exit = True
        await self._client.aclose()


async def _send_response(response: httpx.Response, send: Send) -> int:
    headers = [
        header for header in response.headers.raw if header[0].lower() not in _HOP_BY_HOP_HEADERS
    ]
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    await send(start)
    with suppress(httpx.TransportError):  # a response that breaks off ends here too
        async for chunk in response.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return response.status_code


def _name(body: bytes) -> str:
    try:
        value: object = json.loads(body)
    except ValueError:
        return ""
    return str(cast("dict[str, object]", value).get("name", "")) if isinstance(value, dict) else ""


def max_in_a_minute(arrivals: Sequence[float]) -> int:
    """Return the largest number of requests that arrived within any sixty seconds."""
    ordered, most, first = sorted(arrivals), 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= 60:
            first += 1
        most = max(most, last - first + 1)
    return most
