"""A small proxy on loopback: goes round its targets, and remembers what went by, and when."""

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

_OF_A_HOP = (b"host", b"connection", b"transfer-encoding", b"content-length", b"keep-alive")


class Passed(NamedTuple):
    """One request that was answered: when it arrived, what it was, and the status."""

    at: float
    method: str
    path: str
    name: str
    status: int


class Door:
    """Passes each request on to the next target, and never one request to two that got it."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = targets
        self._turn = count()
        self._client = httpx.AsyncClient(
            timeout=300, limits=httpx.Limits(max_connections=200, max_keepalive_connections=0)
        )
        self.arrivals: list[float] = []
        self.passed: list[Passed] = []
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.arrivals.append(at := time.monotonic())
        body = await request.body()
        status = await self._pass_on(request, body, send)
        name = _name(body)
        self.passed.append(Passed(at, request.method, request.url.path, name, status))

    async def _pass_on(self, request: Request, body: bytes, send: Send) -> int:
        headers = [it for it in request.headers.raw if it[0] not in _OF_A_HOP]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        first = next(self._turn)
        for place in range(len(self._targets)):
            target = self._targets[(first + place) % len(self._targets)]
            asked = self._client.build_request(
                request.method, target + path, headers=headers, content=body
            )
            try:
                response = await self._client.send(asked, stream=True)
            except httpx.ConnectError:
                continue  # nothing was sent: another may have it
            except httpx.TransportError:
                break
            try:
                return await _answer(response, send)
            finally:
                await response.aclose()
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return 502

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["Door"]:
        """Serve, on a free port of 127.0.0.1."""
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


async def _answer(response: httpx.Response, send: Send) -> int:
    headers = [it for it in response.headers.raw if it[0].lower() not in _OF_A_HOP]
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    await send(start)
    with suppress(httpx.TransportError):  # an answer that breaks off ends here as well
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


def most_in_a_minute(arrivals: Sequence[float]) -> int:
    """The most requests that arrived within any sixty seconds."""
    ordered, most, first = sorted(arrivals), 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= 60:
            first += 1
        most = max(most, last - first + 1)
    return most
