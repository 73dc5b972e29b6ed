"""Clients without a token that never finish their requests, and a service that others still use."""

import http.client
import os
import selectors
import socket
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Self

import pytest

from tests.processes.helpers import free_port
from tests.processes.http_server import HttpServer, http_server
from tests.service.raw_requests import MODERN, make_http_client, send_request
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2 and limits of open files"),
]

CONNECTIONS = 1_100
OPEN_FILES = 1_024
ATTACK_SECONDS = 30
MAX_HEALTH_SECONDS = 1.0
MAX_LOG_BYTES = 10_000
TOKEN = "t" * 32
HEADERS = b"host: localhost\r\ncontent-type: application/json\r\n"
HALF_REQUESTS = [
    b"",
    b"GET /health HTTP/1.1\r\n" + HEADERS + b"x-a: ",
    b"POST /mcp HTTP/1.1\r\n" + HEADERS + b"content-length: 900\r\n\r\n{",
    b"POST /mcp HTTP/1.1\r\n" + HEADERS + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
    b"POST /health HTTP/1.1\r\n" + HEADERS + b"content-length: 90000\r\n\r\n" + b"x" * 80_000,
    b"POST /elsewhere HTTP/1.1\r\n" + HEADERS + b"content-length: 900\r\n\r\n{",
    b"\x16\x03\x01\x02\x00\x01\x00",
]


class Attack:
    """Many half-open requests from two addresses; a closed one is replaced by another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._stopped = Event()
        self._thread = Thread(target=self._run)
        self.opened = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._close(key.fileobj)

    def _run(self) -> None:
        while not self._stopped.is_set():
            missing = CONNECTIONS - len(self._selector.get_map())
            for _ in range(min(missing, 50)):
                self._open()
            for key, _ in self._selector.select(timeout=0.1):
                with suppress(OSError):
                    if key.fileobj.recv(65_536):  # type: ignore[union-attr]
                        continue
                self._close(key.fileobj)

    def _open(self) -> None:
        source = (f"127.0.0.{1 + self.opened % 2}", 0)
        connection = socket.create_connection(("127.0.0.1", self._port), 30, source)
        connection.settimeout(0)
        with suppress(OSError):
            connection.send(HALF_REQUESTS[self.opened % len(HALF_REQUESTS)])
        self._selector.register(connection, selectors.EVENT_READ)
        self.opened += 1

    def _close(self, connection: object) -> None:
        assert isinstance(connection, socket.socket)
        self._selector.unregister(connection)
        connection.close()


@pytest.fixture(params=["more files allowed", "no more files allowed"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[HttpServer]:
    """Start a service with a token and with the limit of open files that most systems have."""
    limit = f"ulimit {'-n' if request.param == 'no more files allowed' else '-Sn'} {OPEN_FILES}"
    settings = {
        "SNAPSHOT_MCP_BEARER_TOKEN": TOKEN,
        "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "60000",
        "SNAPSHOT_MCP_LOG_FORMAT": "json",
    }
    shell = ["/bin/sh", "-c", f'{limit}; exec "$@"', "sh"]
    with http_server(tmp_path, free_port(), prefix=shell, **settings) as server:
        yield server


def health_seconds(server: HttpServer) -> float:
    """Return the time of one answer of `/health` over a new connection."""
    before = monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()
    return monotonic() - before


def test_health_is_answered_while_1100_requests_are_never_finished(server: HttpServer) -> None:
    slowest, ends = 0.0, monotonic() + ATTACK_SECONDS
    with Attack(server.port) as attack, make_http_client(server.url) as client:
        until(lambda: attack.opened >= CONNECTIONS, "the attack")
        while monotonic() < ends:
            slowest = max(slowest, health_seconds(server))
            assert send_request(client, MODERN, TOKEN, "tools/list").is_success
        assert attack.opened > CONNECTIONS
    # If other processes keep the processors busy, all answers take as much longer.
    assert slowest < MAX_HEALTH_SECONDS * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
    server.terminate()
    log = "\n".join(server.output)
    assert len(log) < MAX_LOG_BYTES
    assert "Traceback" not in log
    assert "raised" not in log
    assert "401, This server requires a bearer token" in log
    assert '"repeated": ' in log


def test_clients_that_disconnect_early_cause_at_most_one_line_each_kind(server: HttpServer) -> None:
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    token = f"authorization: Bearer {TOKEN}\r\naccept: application/json, text/event-stream\r\n"
    head = b"POST /mcp HTTP/1.1\r\n" + HEADERS + token.encode()
    requests = [
        *HALF_REQUESTS,
        head + b"content-length: 900\r\n\r\n" + body,
        head + b"mcp-protocol-version: 2026-07-28\r\ncontent-length: 900\r\n\r\n" + body,
        head + f"content-length: {len(body)}\r\n\r\n".encode() + body,
        head.replace(b"POST", b"GET") + b"\r\n",
    ]
    reset = b"\1\0\0\0\0\0\0\0"
    before = len(server.output)
    for number in range(50):
        for request in requests:
            with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
                connection.sendall(request)
                if number % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    assert server.is_up()
    server.terminate()
    lines = server.output[before:]
    assert not any("Traceback" in line for line in lines)
    assert len(lines) < len(requests)
