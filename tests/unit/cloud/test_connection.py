"""Connections: the headers of every request, and the choice of a proxy."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp import __version__
from snapshot_mcp.cloud.connection import (
    Connection,
    create_network_transport,
    find_proxy,
    is_excluded,
)
from snapshot_mcp.core.errors import ConfigurationError
from tests.conftest import CLOUD_URL
from tests.recording_listener import PROXIES, listener, remove_proxies


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_proxies(monkeypatch)


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


@pytest.mark.parametrize("scheme", ["HTTPS", "Https"])
async def test_the_scheme_of_an_address_has_no_case(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async with listener() as (address, received):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        await send_request(f"{scheme}://Cloud.Example/v1")
    assert received[0].startswith(b"CONNECT cloud.example:443 ")
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        create_network_transport(f"{scheme}://cloud.example/v1")


@pytest.mark.parametrize(
    ("no_proxy", "url", "excluded"),
    [
        ("fd00::/8", "https://[fd12::1]/v1", True),
        ("FD00::/8", "https://[FD12::1]/v1", True),
        ("[fd00::]/8", "https://[fd12::1]/v1", True),
        ("fd00::/8", "https://[fe80::1]/v1", False),
        ("fd00::/8", "https://cloud.example", False),
        ("::1", "https://[::1]:8443", True),
        ("[::1]:8443", "https://[0:0::1]:8443", True),
        ("[::1]:8443", "https://[::1]", False),
        ("10.0.0.0/8", "https://10.20.30.40", True),
        ("10.0.0.1/8", "https://10.20.30.40", True),
        ("10.0.0.0/8", "https://11.20.30.40", False),
        ("10.0.0.0/8", "https://10.example", False),
        ("10.0.0.0/64,a.example", "https://a.example", True),
        ("10.0.0.0/64", "https://10.0.0.0", False),
        ("a.example b.example", "https://b.example", True),
        ("Cloud.Example", "https://cloud.EXAMPLE", True),
        (".cloud.example", "https://cloud.example", True),
        ("*.cloud.example", "https://eu.cloud.example", True),
        ("cloud.example", "https://eu.cloud.example.", True),
        ("cloud.example", "https://mycloud.example", False),
        ("cloud.example:443", "https://cloud.example", True),
        ("cloud.example:8443", "https://cloud.example", False),
        ("*:443", "https://cloud.example", True),
        (" , ,", "https://cloud.example", False),
        (".", "https://cloud.example", False),
        ("]:[/,:::,a:b", "https://cloud.example", False),
    ],
)
def test_entries_of_no_proxy_are_names_addresses_and_ranges(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, *, excluded: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    expected = None if excluded else "http://proxy.example:3128"
    assert find_proxy(httpx.URL(url)) == expected


@given(st.text(max_size=40), st.text("abc.:[]/*0123456789f", max_size=40))
def test_no_entry_of_no_proxy_prevents_a_connection(host: str, entry: str) -> None:
    for text in (host, entry):
        assert isinstance(is_excluded("10.0.0.1", 443, text), bool)
        assert isinstance(is_excluded("fd00::1", 443, text), bool)


async def test_plain_http_never_uses_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listener() as (proxy, via_proxy), listener() as (address, direct):
        for name in PROXIES:
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
