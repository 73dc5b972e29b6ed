"""The embedded cloud on a real port, behind a network that fails as the fault transport says."""

import random
import socket
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.sandbox.app import create_app
from tests.faults.clocks import Passing
from tests.faults.faults import (
    CutOff,
    Delay,
    Fault,
    OtherBody,
    OtherType,
    Reset,
    Status,
    TimeOut,
    Twice,
)
from tests.faults.transport import FaultTransport, Log, Plan

HOST = "127.0.0.1"
KEY = "soak"
OUTAGE_SECONDS = 3.0
SECONDS_BETWEEN_OUTAGES = 90.0

_LARGEST_HEAD = 65_536
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead)
_READING: list[Fault] = [
    Delay(0.3),
    OtherType(),
    Reset("never"),
    TimeOut("never"),
    CutOff(),
    OtherBody(status=200),
    Status(429, retry_after="1"),
    Status(500),
    Status(502),
    Status(503),
]
_WRITING: list[Fault] = [
    *_READING,
    Reset("before"),
    Reset("late", 2),
    Reset("before", error=httpx.RemoteProtocolError),
    TimeOut("before"),
    TimeOut("late", 3),
    TimeOut("late", 30),
    Status(500, "before"),
    Status(503, "late", 5),
    Status(504, "before"),
    Twice(),
]


@dataclass
class Chance(Plan):
    """Faults by chance: one read in thirty, one write in three, until it is called off."""

    chance: random.Random = field(default_factory=random.Random)
    fair: bool = False

    def next(self, *, writing: bool) -> Fault:
        """What happens to the next request."""
        if self.fair or self.chance.random() > (1 / 3 if writing else 1 / 30):
            return Fault()
        return self.chance.choice(_WRITING if writing else _READING)


def _jump(_hours: float) -> None:
    """The time of day of this machine is left alone."""


REAL_TIME = Passing(anyio.sleep, time.monotonic, utc_now, _jump)


class FaultyCloud:
    """Speaks HTTP on a port of this machine, as badly as its plan says.

    Args:
        database: the cloud's database.
        plan: what happens to the requests.
        log: where they are noted.
        timeout: seconds after which whoever asks has given up.
    """

    def __init__(self, database: Path, plan: Plan, log: Log, timeout: float) -> None:
        app = create_app(database=database, api_key=KEY, now=REAL_TIME.now)
        inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._transport = FaultTransport(inner, plan, log, REAL_TIME)
        self._log = log
        self._timeout = timeout
        self._idle: set[anyio.CancelScope] = set()
        with socket.create_server((HOST, 0)) as free:
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://{HOST}:{self.port}/v1"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Serve, with an outage now and then in which connections are refused."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._serve_with_outages, tasks)
            tasks.start_soon(self._deliver_late)
            yield
            tasks.cancel_scope.cancel()

    async def _serve_with_outages(self, connections: TaskGroup) -> None:
        while True:
            listener = await anyio.create_tcp_listener(local_host=HOST, local_port=self.port)
            with anyio.move_on_after(SECONDS_BETWEEN_OUTAGES):
                async with listener:
                    await listener.serve(self._converse, connections)
            for scope in self._idle:
                scope.cancel()
            await anyio.sleep(OUTAGE_SECONDS)

    async def _deliver_late(self) -> None:
        while True:
            await anyio.sleep(0.5)
            await self._log.deliver_late(time.monotonic())

    async def _converse(self, stream: SocketStream) -> None:
        incoming = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while (request := await self._awaited(incoming)) is not None:
                    answer = await self._transport.handle_async_request(request)
                    if not await _send(stream, answer):
                        return
            except (httpx.RemoteProtocolError, *_GONE):
                return
            except httpx.HTTPError:
                _break(stream)

    async def _awaited(self, incoming: BufferedByteReceiveStream) -> httpx.Request | None:
        """The next request; None when an outage ends the conversation between two of them."""
        with anyio.CancelScope() as scope:
            self._idle.add(scope)
            try:
                head = await incoming.receive_until(b"\r\n\r\n", _LARGEST_HEAD)
            finally:
                self._idle.discard(scope)
            return await self._received(head, incoming)
        return None

    async def _received(self, head: bytes, incoming: BufferedByteReceiveStream) -> httpx.Request:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = httpx.Headers([(name, value) for name, _, value in map(_halves, lines)])
        length = int(headers.get("content-length", "0"))
        body = await incoming.receive_exactly(length) if length else b""
        return httpx.Request(
            method,
            f"http://{HOST}:{self.port}{target}",
            headers=headers,
            content=body,
            extensions={"timeout": {"read": self._timeout}},
        )


def _halves(line: str) -> tuple[str, str, str]:
    return line.partition(": ")


async def _send(stream: SocketStream, answer: httpx.Response) -> bool:
    """Send an answer; False when it broke off and the connection is of no use any more."""
    try:
        body, whole = await answer.aread(), True
    except httpx.RemoteProtocolError:
        body, whole = b'{"status": tr', False
    length = len(body) + (0 if whole else 100)
    kept = {"content-type", "retry-after"}
    headers = {name: value for name, value in answer.headers.items() if name in kept}
    lines = [f"{name}: {value}" for name, value in {**headers, "content-length": length}.items()]
    head = "\r\n".join([f"HTTP/1.1 {answer.status_code} Told", *lines, "", ""])
    await stream.send(head.encode("latin-1") + body)
    return whole


def _break(stream: SocketStream) -> None:
    """Let the other side see a reset instead of an orderly end."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - this is no database
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
