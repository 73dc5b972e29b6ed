"""The embedded cloud on a TCP port, with faults and outages of the network."""

import socket
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import anyio
import httpx
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.sandbox.app import create_app
from tests.faults.clocks import FaultTime
from tests.faults.faults import (
    ConnectionReset,
    Delay,
    ErrorStatus,
    Fault,
    NoAnswer,
    SentTwice,
    TruncatedBody,
    WrongBody,
    WrongContentType,
)
from tests.faults.transport import ExchangeLog, FaultPlan, FaultTransport

HOST = "127.0.0.1"
KEY = "soak"
OUTAGE_SECONDS = 3.0
OUTAGE_INTERVAL_SECONDS = 90.0

_MAX_HEAD_BYTES = 65_536
_CONNECTION_CLOSED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead)
_READ_FAULTS: list[Fault] = [
    Delay(0.3),
    WrongContentType(),
    ConnectionReset("never"),
    NoAnswer("never"),
    TruncatedBody(),
    WrongBody(status=200),
    ErrorStatus(429, retry_after="1"),
    ErrorStatus(500),
    ErrorStatus(502),
    ErrorStatus(503),
]
_WRITE_FAULTS: list[Fault] = [
    *_READ_FAULTS,
    ConnectionReset("before"),
    ConnectionReset("late", 2),
    ConnectionReset("before", error=httpx.RemoteProtocolError),
    NoAnswer("before"),
    NoAnswer("late", 3),
    NoAnswer("late", 30),
    ErrorStatus(500, "before"),
    ErrorStatus(503, "late", 5),
    ErrorStatus(504, "before"),
    SentTwice(),
]


@dataclass
class RandomFaults(FaultPlan):
    """Random faults: in one read of thirty and in one write of three.

    Attributes:
        rng: the source of randomness.
        paused: whether no faults occur.
    """

    rng: Random = field(default_factory=Random)
    paused: bool = False

    def next(self, *, writing: bool) -> Fault:
        """Return the fault of the next request."""
        if self.paused or self.rng.random() > (1 / 3 if writing else 1 / 30):
            return Fault()
        return self.rng.choice(_WRITE_FAULTS if writing else _READ_FAULTS)


def _jump(_hours: float) -> None:
    """Do not change the time of this machine."""


REAL_TIME = FaultTime(anyio.sleep, time.monotonic, utc_now, _jump)


class FaultyCloud:
    """Serves the embedded cloud over HTTP, with the faults of a plan.

    Args:
        database: the cloud's database.
        plan: selects a fault for each request.
        log: records the requests.
        timeout: seconds after which the client has given up.
    """

    def __init__(self, database: Path, plan: FaultPlan, log: ExchangeLog, timeout: float) -> None:
        app = create_app(database=database, api_key=KEY, now=REAL_TIME.now)
        inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._transport = FaultTransport(inner, plan, log, REAL_TIME)
        self._log = log
        self._timeout = timeout
        self._idle: set[anyio.CancelScope] = set()
        with socket.create_server((HOST, 0)) as listener:
            self.port: int = listener.getsockname()[1]

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://{HOST}:{self.port}/v1"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Serve with regular outages, during which connections are refused."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._serve_with_outages, tasks)
            tasks.start_soon(self._deliver_late)
            yield
            tasks.cancel_scope.cancel()

    async def _serve_with_outages(self, connections: TaskGroup) -> None:
        while True:
            listener = await anyio.create_tcp_listener(local_host=HOST, local_port=self.port)
            with anyio.move_on_after(OUTAGE_INTERVAL_SECONDS):
                async with listener:
                    await listener.serve(self._serve_connection, connections)
            for scope in self._idle:
                scope.cancel()
            await anyio.sleep(OUTAGE_SECONDS)

    async def _deliver_late(self) -> None:
        while True:
            await anyio.sleep(0.5)
            await self._log.deliver_delayed(time.monotonic())

    async def _serve_connection(self, stream: SocketStream) -> None:
        incoming = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while (request := await self._next_request(incoming)) is not None:
                    response = await self._transport.handle_async_request(request)
                    if not await _send(stream, response):
                        return
            except (httpx.RemoteProtocolError, *_CONNECTION_CLOSED):
                return
            except httpx.HTTPError:
                _reset(stream)

    async def _next_request(self, stream: BufferedByteReceiveStream) -> httpx.Request | None:
        """Return the next request; None if an outage closes the idle connection."""
        with anyio.CancelScope() as scope:
            self._idle.add(scope)
            try:
                head = await stream.receive_until(b"\r\n\r\n", _MAX_HEAD_BYTES)
            finally:
                self._idle.discard(scope)
            return await self._read_request(head, stream)
        return None

    async def _read_request(self, head: bytes, stream: BufferedByteReceiveStream) -> httpx.Request:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = httpx.Headers([(name, value) for name, _, value in map(_split_header, lines)])
        length = int(headers.get("content-length", "0"))
        body = await stream.receive_exactly(length) if length else b""
        return httpx.Request(
            method,
            f"http://{HOST}:{self.port}{target}",
            headers=headers,
            content=body,
            extensions={"timeout": {"read": self._timeout}},
        )


def _split_header(line: str) -> tuple[str, str, str]:
    return line.partition(": ")


async def _send(stream: SocketStream, response: httpx.Response) -> bool:
    """Send a response; return False if it was cut off, so that the connection must be closed."""
    try:
        body, complete = await response.aread(), True
    except httpx.RemoteProtocolError:
        body, complete = b'{"status": tr', False
    length = len(body) + (0 if complete else 100)
    passed_on = {"content-type", "retry-after"}
    headers = {name: value for name, value in response.headers.items() if name in passed_on}
    lines = [f"{name}: {value}" for name, value in {**headers, "content-length": length}.items()]
    head = "\r\n".join([f"HTTP/1.1 {response.status_code} Status", *lines, "", ""])
    await stream.send(head.encode("latin-1") + body)
    return complete


def _reset(stream: SocketStream) -> None:
    """Close the connection with a reset instead of an orderly end."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not a database query
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
