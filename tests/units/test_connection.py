"""Connections: the headers of every request, and the choice of a proxy."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from snapshot_mcp import __version__
from snapshot_mcp.cloud.connection import Connection, create_network_transport
from tests.conftest import CLOUD_URL

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
NAMES = [*PROXIES, *(name.lower() for name in PROXIES)]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def listener() -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Yield the address of a server that records what it receives first, and disconnects."""
    received: list[bytes] = []

    async def receive(stream: SocketStream) -> None:
        async with stream:
            received.append(await stream.receive())

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as server,
        anyio.create_task_group() as group,
    ):
        group.start_soon(server.serve, receive)
        port = server.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - a socket, not a database
        yield f"127.0.0.1:{port}", received
        group.cancel_scope.cancel()


async def send_request(url: str) -> None:
    with pytest.raises(httpx.TransportError):
        async with (
            Connection(create_network_transport(url), url, "SECRET", 5) as connection,
            connection.stream("GET", "/core/snapshots"),
        ):
            pass


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_https_uses_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    async with listener() as (address, received):
        monkeypatch.setenv(name, scheme + address)
        await send_request(CLOUD_URL)
    assert received[0].startswith(b"CONNECT cloud.example:443 ")
    assert b"SECRET" not in received[0]


@pytest.mark.parametrize("no_proxy", ["*", "127.0.0.1", "other.example,127.0.0.1"])
async def test_no_proxy_excludes_hosts_from_the_proxy(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    async with listener() as (proxy, via_proxy), listener() as (address, direct):
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        await send_request(f"https://{address}/v1")
    assert via_proxy == []
    assert direct[0][0] == 0x16  # a TLS handshake


async def test_plain_http_never_uses_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listener() as (proxy, via_proxy), listener() as (address, direct):
        for name in PROXIES[:3]:
            monkeypatch.setenv(name, f"http://{proxy}")
        await send_request(f"http://{address}/v1")
    assert via_proxy == []
    assert direct[0].startswith(b"GET /v1/core/snapshots HTTP/1.1\r\n")


async def test_a_request_has_the_key_and_requests_uncompressed_json() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, headers={"set-cookie": "a=b", "location": "http://elsewhere"})

    async with Connection(httpx.MockTransport(answer), CLOUD_URL + "/", "SECRET", 8) as connection:
        for _ in range(2):
            async with connection.stream("POST", "/x", {"a": "b&c"}, {"name": "n"}) as response:
                assert response.status_code == 200
    first, second = requests
    assert str(first.url) == f"{CLOUD_URL}/x?a=b%26c"
    assert first.content == b'{"name":"n"}'
    assert first.headers["api_key"] == "SECRET"
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["user-agent"] == f"snapshot-mcp/{__version__}"
    assert first.extensions["timeout"] == {"connect": 4, "read": 8, "write": 8, "pool": 8}
    assert second.headers == first.headers
