"""Deadlines of requests and responses, and the limits on connections, on real sockets."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from snapshot_mcp.transports.http.connections import (
    MAX_HEADER_BYTES,
    ConnectionLimits,
    Timeouts,
)
from snapshot_mcp.transports.http.web_server import make_config
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

SHORT = 0.05
LONG = 600.0
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
HALF_HEADER = b"GET / HTTP/1.1\r\nhost: a\r\nx-a: "
HALF_BODY = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{"
HALF_CHUNKED_BODY = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"
INVALID_CHUNK = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n"
EARLY = HALF_BODY.replace(b"/", b"/early", 1)
HELD = GET.replace(b"/", b"/held", 1)
LARGE = GET.replace(b"/", b"/large", 1)
LARGE_BODY = b"x" * 8 * 1024 * 1024


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)


class Client(NamedTuple):
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """Return the head of the next response; b"" if the connection was closed."""
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            try:
                return await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return b""

    async def is_closed(self) -> bool:
        """Return whether the server closes the connection, after all that it has sent."""
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionResetError:
                pass
            return True


class Server:
    """A server with limits, in this process."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.release = asyncio.Event()
        self.held_count = 0
        self.messages: list[str] = []
        self._config = make_config(self, limits)
        self._config.load()
        self._state = ServerState()
        self._port = 0
        self._clients: list[Client] = []

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator["Server"]:
        protocol = self._config.http_protocol_class
        options: dict[str, Any] = {
            "config": self._config,
            "server_state": self._state,
            "app_state": {},
        }
        listener = await asyncio.get_running_loop().create_server(
            lambda: protocol(**options), "127.0.0.1", 0
        )
        self._port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.release.set()
            listener.close()
            for client in self._clients:
                client.writer.transport.abort()
            await until(lambda: not (self._state.connections or self._state.tasks))

    @property
    def connection_count(self) -> int:
        return len(self._state.connections)

    async def connect(self, data: bytes = b"", address: str = "127.0.0.1") -> Client:
        """Connect, send `data`, and wait until the server has accepted the connection."""
        before = set(self._state.connections)
        streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        client = Client(*streams)
        self._clients.append(client)
        await client.send(data)
        await until(lambda: set(self._state.connections) - before or client.reader.at_eof())
        return client

    async def is_up(self) -> bool:
        """Return whether a new client gets an answer."""
        client = await self.connect(GET)
        return (await client.head()).startswith(b"HTTP/1.1 204")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; its path says how."""
        if scope["path"] == "/held":
            self.held_count += 1
            await self.release.wait()
        message = {"more_body": scope["path"] != "/early"}
        while message.get("more_body"):
            message = await receive()
            self.messages.append(message["type"])
        body = LARGE_BODY if scope["path"] == "/large" else b""
        length = [(b"content-length", str(len(body)).encode())] if body else []
        status = 200 if body else 204
        await send({"type": "http.response.start", "status": status, "headers": length})
        await send({"type": "http.response.body", "body": body})


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("data", "timeouts", "response"),
    [
        (b"", Timeouts(SHORT, LONG, LONG), b""),
        (HALF_HEADER, Timeouts(SHORT, LONG, LONG), b"HTTP/1.1 408"),
        (HALF_BODY, Timeouts(LONG, SHORT, LONG), b"HTTP/1.1 408"),
        (HALF_CHUNKED_BODY, Timeouts(LONG, SHORT, LONG), b"HTTP/1.1 408"),
        (EARLY, Timeouts(LONG, SHORT, LONG), b"HTTP/1.1 204"),
    ],
    ids=["nothing", "header", "body", "chunks", "a body after its response"],
)
async def test_a_request_that_is_not_complete_in_time_is_closed(
    caplog: pytest.LogCaptureFixture, data: bytes, timeouts: Timeouts, response: bytes
) -> None:
    async with Server(ConnectionLimits(timeouts=timeouts)).serve() as server:
        client = await server.connect(data)
        assert (await client.head()).startswith(response)
        assert await client.is_closed()
        assert server.messages in ([], ["http.disconnect"], ["http.request", "http.disconnect"])
        assert await server.is_up()
    assert set(lines(caplog)) == {"closed a connection: its request was not complete in 0.05 s"}


async def drip_bytes(client: Client, data: bytes) -> None:
    while True:
        client.writer.write(b"a" if data is HALF_HEADER else b"1\r\na\r\n")
        await asyncio.sleep(0.01)


async def test_bytes_do_not_extend_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    async with Server(ConnectionLimits(timeouts=Timeouts(0.1, 0.1, LONG))).serve() as server:
        for data in (HALF_HEADER, HALF_CHUNKED_BODY.removesuffix(b"5\r\n{")):
            client = await server.connect(data)
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS), asyncio.TaskGroup() as group:
                drip = group.create_task(drip_bytes(client, data))
                assert await client.is_closed()
                drip.cancel()
    assert len(lines(caplog)) == 2


async def test_the_second_request_of_a_connection_has_a_deadline_too() -> None:
    async with Server(ConnectionLimits(timeouts=Timeouts(SHORT, LONG, LONG))).serve() as server:
        client = await server.connect(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 204")
        await client.send(HALF_HEADER)
        assert (await client.head()).startswith(b"HTTP/1.1 408")
        assert await client.is_closed()


async def test_a_complete_request_has_no_deadline(caplog: pytest.LogCaptureFixture) -> None:
    timeouts = Timeouts(SHORT, SHORT, LONG)
    async with Server(ConnectionLimits(timeouts=timeouts)).serve() as server:
        client = await server.connect(HELD)
        await asyncio.sleep(4 * SHORT)
        server.release.set()
        assert (await client.head()).startswith(b"HTTP/1.1 204")
    assert lines(caplog) == []


async def test_a_client_that_does_not_read_is_disconnected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    timeouts = Timeouts(LONG, LONG, SHORT)
    async with Server(ConnectionLimits(timeouts=timeouts)).serve() as server:
        client = await server.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(LARGE * 3)
        await until(lambda: lines(caplog))
    assert lines(caplog) == ["closed a connection: its client did not read in 0.05 s"]


async def test_a_closed_connection_does_not_wait_for_a_client_that_does_not_read() -> None:
    async with Server(ConnectionLimits(timeouts=Timeouts(SHORT, LONG, LONG))).serve() as server:
        client = await server.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(LARGE[:-2] + b"connection: close\r\n\r\n")
        await until(lambda: server.messages)
        await until(lambda: not server.connection_count)


async def test_a_client_that_reads_slowly_gets_the_whole_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Server(ConnectionLimits()).serve() as server:
        client = await server.connect(LARGE * 3)
        for _ in range(3):
            assert (await client.head()).startswith(b"HTTP/1.1 200")
            assert await client.reader.readexactly(len(LARGE_BODY)) == LARGE_BODY
    assert lines(caplog) == []


@pytest.mark.parametrize("data", [b"", HALF_HEADER, HALF_BODY, EARLY, GET], ids=len)
async def test_connections_without_a_complete_request_make_room_for_new_ones(data: bytes) -> None:
    async with Server(ConnectionLimits(max_connections=5)).serve() as server:
        clients = [await server.connect(data) for _ in range(7)]
        assert await server.is_up()
        for client in clients[:4]:
            assert await client.is_closed()
        for client in clients[-3:]:
            assert not client.reader.at_eof()


async def test_idle_clients_are_closed_only_if_all_others_have_had_a_complete_request() -> None:
    async with Server(ConnectionLimits(max_connections=5)).serve() as server:
        idle = await server.connect(GET)
        assert (await idle.head()).startswith(b"HTTP/1.1 204")
        for _ in range(9):
            await server.connect(HALF_HEADER)
        await idle.send(GET)
        assert (await idle.head()).startswith(b"HTTP/1.1 204")


async def test_a_complete_request_is_never_closed_for_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Server(ConnectionLimits(max_connections=3)).serve() as server:
        busy = [await server.connect(HELD) for _ in range(2)]
        await until(lambda: server.held_count == 2)
        for _ in range(4):
            assert await server.is_up()
        busy.append(await server.connect(HELD))
        await until(lambda: server.held_count == 3)
        assert not await server.is_up()
        assert lines(caplog)[-1] == "refused a connection: all 3 are in use"
        server.release.set()
        for client in busy:
            assert (await client.head()).startswith(b"HTTP/1.1 204")
        assert await server.is_up()


async def test_one_address_cannot_close_the_connections_of_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Server(ConnectionLimits(max_connections=5)).serve() as server:
        other = await server.connect(HALF_HEADER)
        attackers = [await server.connect(HALF_HEADER, "127.0.0.2") for _ in range(9)]
        for attacker in attackers[:5]:
            assert await attacker.is_closed()
        await other.send(b"\r\n\r\n")
        assert (await other.head()).startswith(b"HTTP/1.1 204")
    assert set(lines(caplog)) == {
        "closed a connection without a complete request: its address has 4 of them"
    }


@pytest.mark.parametrize(
    ("data", "response"),
    [
        (INVALID_CHUNK, b"HTTP/1.1 400"),
        (INVALID_CHUNK.replace(b"/", b"/early", 1), b"HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /" + b"a" * MAX_HEADER_BYTES, b"HTTP/1.1 400"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", b""),
    ],
    ids=["chunk", "chunk after the response", "TLS", "long header", "upgrade"],
)
async def test_an_invalid_request_is_answered_without_an_exception(
    caplog: pytest.LogCaptureFixture, data: bytes, response: bytes
) -> None:
    async with Server(ConnectionLimits()).serve() as server:
        client = await server.connect(data)
        assert (await client.head()).startswith(response)
        assert await server.is_up()
    assert not any(record.exc_info for record in caplog.records)


async def test_an_invalid_part_after_the_response_closes_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Server(ConnectionLimits()).serve() as server:
        client = await server.connect(INVALID_CHUNK.replace(b"/", b"/early", 1)[:-3])
        assert (await client.head()).startswith(b"HTTP/1.1 204")
        await client.send(b"x\r\n")
        assert await client.is_closed()
    assert not any(record.exc_info for record in caplog.records)
