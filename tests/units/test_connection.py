"""What every request carries, and by which way it goes: the environment's proxy, or none."""

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
    """Host and port of something that hears what it is asked first, and hangs up."""
    heard: list[bytes] = []

    async def hear(stream: SocketStream) -> None:
        async with stream:
            heard.append(await stream.receive())

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as server,
        anyio.create_task_group() as group,
    ):
        group.start_soon(server.serve, hear)
        port = server.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - a socket, no database
        yield f"127.0.0.1:{port}", heard
        group.cancel_scope.cancel()


async def asked(url: str) -> None:
    with pytest.raises(httpx.TransportError):
        async with (
            Connection(create_network_transport(url), url, "SECRET", 5) as connection,
            connection.stream("GET", "/core/snapshots"),
        ):
            pass


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_https_goes_by_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    async with listener() as (address, heard):
        monkeypatch.setenv(name, scheme + address)
        await asked(CLOUD_URL)
    assert heard[0].startswith(b"CONNECT cloud.example:443 ")
    assert b"SECRET" not in heard[0]


@pytest.mark.parametrize("spared", ["*", "127.0.0.1", "other.example,127.0.0.1"])
async def test_what_the_environment_spares_from_the_proxy_goes_straight(
    monkeypatch: pytest.MonkeyPatch, spared: str
) -> None:
    async with listener() as (proxy, by_proxy), listener() as (address, straight):
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy}")
        monkeypatch.setenv("NO_PROXY", spared)
        await asked(f"https://{address}/v1")
    assert by_proxy == []
    assert straight[0][0] == 0x16  # a handshake of TLS


async def test_plain_http_never_goes_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listener() as (proxy, by_proxy), listener() as (address, straight):
        for name in PROXIES[:3]:
            monkeypatch.setenv(name, f"http://{proxy}")
        await asked(f"http://{address}/v1")
    assert by_proxy == []
    assert straight[0].startswith(b"GET /v1/core/snapshots HTTP/1.1\r\n")


async def test_a_request_carries_the_key_and_asks_for_plain_json() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, headers={"set-cookie": "a=b", "location": "http://elsewhere"})

    async with Connection(httpx.MockTransport(answer), CLOUD_URL + "/", "SECRET", 8) as connection:
        for _ in range(2):
            async with connection.stream("POST", "/x", {"a": "b&c"}, {"name": "n"}) as response:
                assert response.status_code == 200
    first, second = seen
    assert str(first.url) == f"{CLOUD_URL}/x?a=b%26c"
    assert first.content == b'{"name":"n"}'
    assert first.headers["api_key"] == "SECRET"
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["user-agent"] == f"snapshot-mcp/{__version__}"
    assert first.extensions["timeout"] == {"connect": 4, "read": 8, "write": 8, "pool": 8}
    assert second.headers == first.headers
