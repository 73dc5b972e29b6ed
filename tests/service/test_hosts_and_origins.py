"""Host, Origin, CORS and unknown paths, at the application of the service."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import read_settings
from snapshot_mcp.transports.http.app import create_http_app
from snapshot_mcp.transports.http.disconnects import DisconnectMiddleware
from snapshot_mcp.transports.http.monitoring import HEALTH_PATH, METRICS_PATH, monitoring_routes
from snapshot_mcp.transports.http.settings import read_http_settings

TOKEN = "t" * 32
TOKENS = {"SNAPSHOT_MCP_BEARER_TOKEN": TOKEN}
ALLOWED = {
    "SNAPSHOT_MCP_ALLOWED_HOSTS": "snapshots.example,10.1.2.3,Other.Example:8443",
    "SNAPSHOT_MCP_ALLOWED_ORIGINS": (
        "https://app.example,https://Other.Example:443,http://app.example:*"
    ),
}
EXPOSED = {
    "mcp-session-id",
    "mcp-protocol-version",
    "www-authenticate",
    "retry-after",
    "x-request-id",
}
NEEDED = {
    "authorization",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
}
PATHS = ("/mcp", HEALTH_PATH, METRICS_PATH)


def make_app(folder: Path, **settings: str) -> ASGIApp:
    environment = {
        "SNAPSHOT_MCP_DATA_DIR": str(folder),
        "SNAPSHOT_MCP_CLOUD": "embedded",
        "SNAPSHOT_MCP_METRICS": "true",
    }
    own_settings, circuit = read_settings(environment), CircuitBreaker()
    return create_http_app(
        create_server(own_settings, circuit=circuit),
        read_http_settings(environment | settings),
        routes=monitoring_routes(own_settings, circuit),
        public_paths=[HEALTH_PATH],
    )


def make_client(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8765")


class Clients(NamedTuple):
    """Clients of a service with a token, and of one without authentication."""

    team: httpx.AsyncClient
    local: httpx.AsyncClient


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """Return the clients of services with the same allowed hosts and origins."""
    folder = tmp_path_factory.mktemp("data")
    return Clients(
        make_client(make_app(folder, **TOKENS, **ALLOWED)), make_client(make_app(folder, **ALLOWED))
    )


def cors_headers(response: httpx.Response) -> list[str]:
    return [name for name in response.headers if name.startswith("access-control-")]


def names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


async def preflight(
    client: httpx.AsyncClient, origin: str, path: str = "/mcp", **headers: str
) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "POST"} | headers
    return await client.options(path, headers=headers)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:8765", True),
        ("[::1]:8765", True),
        ("snapshots.example", True),
        ("Snapshots.Example:443", True),
        ("10.1.2.3:8765", True),
        ("other.example:8443", True),
        ("other.example", False),
        ("other.example:8444", False),
        ("evil.example", False),
        ("evil.example:8765", False),
        ("snapshots.example.evil.example", False),
        ("snapshots.example:8765.evil.example", False),
        ("evil.example/snapshots.example", False),
        ("localhost:", False),
        ("10.1.2.4", False),
        ("", False),
    ],
)
async def test_the_host_is_checked_for_every_path(
    clients: Clients, host: str, *, allowed: bool
) -> None:
    for path, client in product(PATHS, clients):
        # The application has not been started, so it would fail to answer a GET of /mcp.
        method = "PUT" if path == "/mcp" else "GET"
        if path == "/mcp" and client is clients.local and allowed:
            continue
        response = await client.request(method, path, headers={"host": host})
        assert (response.status_code != 421) == allowed, response.text
        assert "x-request-id" in response.headers
        if not allowed:
            assert response.json()["error"] == "forbidden_host"
            assert "www-authenticate" not in response.headers


@pytest.mark.parametrize(
    "origin", ["https://app.example", "HTTPS://APP.example", "https://app.example:443"]
)
async def test_a_preflight_of_an_allowed_origin_needs_no_token(
    clients: Clients, origin: str
) -> None:
    asked = {"access-control-request-headers": ",".join(sorted(NEEDED))}
    for client, method in product(clients, ("POST", "GET", "DELETE")):
        asked["access-control-request-method"] = method
        response = await preflight(client, origin, **asked)
        assert response.is_success, response.text
        assert response.headers["access-control-allow-origin"] == origin
        assert {"GET", "POST", "DELETE"} <= set(
            response.headers["access-control-allow-methods"].split(", ")
        )
        assert names(response.headers["access-control-allow-headers"]) >= NEEDED
        assert "origin" in names(response.headers["vary"])
        assert "access-control-allow-credentials" not in response.headers
        assert "*" not in response.headers["access-control-allow-headers"]


@pytest.mark.parametrize("path", [*PATHS, "/elsewhere"])
async def test_an_allowed_origin_can_read_every_response(clients: Clients, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}):
        response = await clients.team.get(path, headers={"origin": "https://app.example"} | headers)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert names(response.headers["access-control-expose-headers"]) == EXPOSED
        assert names(response.headers["vary"]) == {"origin"}


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evil.example/https://app.example",
        "https://notapp.example",
        "ftp://app.example",
        "null",
        "*",
        "",
    ],
)
async def test_another_origin_gets_403_and_no_cors_headers(clients: Clients, origin: str) -> None:
    authorization = {"authorization": f"Bearer {TOKEN}"}
    responses = [
        response
        for client in clients
        for response in (
            await preflight(client, origin),
            await client.get(HEALTH_PATH, headers={"origin": origin}),
            await client.post("/mcp", json={}, headers={"origin": origin} | authorization),
        )
    ]
    for response in responses:
        assert response.status_code == 403
        assert response.json()["error"] == "forbidden_origin"
        assert cors_headers(response) == []
        assert names(response.headers["vary"]) == {"origin"}
        assert "www-authenticate" not in response.headers


async def test_two_origins_must_both_be_allowed(clients: Clients) -> None:
    headers = [("origin", "https://app.example"), ("origin", "https://evil.example")]
    response = await clients.team.get(HEALTH_PATH, headers=headers)
    assert (response.status_code, cors_headers(response)) == (403, [])


async def test_a_response_without_an_origin_varies_too(clients: Clients) -> None:
    response = await clients.team.get(HEALTH_PATH)
    assert names(response.headers["vary"]) == {"origin"}
    assert cors_headers(response) == []


async def test_pages_of_this_machine_can_read_responses_only_if_tokens_protect_them(
    clients: Clients,
) -> None:
    origin = "http://localhost:6274"
    allowed = await preflight(clients.team, origin)
    assert allowed.headers["access-control-allow-origin"] == origin
    response = await clients.local.get(HEALTH_PATH, headers={"origin": origin})
    assert (response.status_code, cors_headers(response)) == (200, [])
    assert cors_headers(await preflight(clients.local, origin)) == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/elsewhere",
        "/mcp/elsewhere",
        "//mcp",
        "/MCP",
        "/register",
        "/authorize",
        "/token",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/mcp/.well-known/openid-configuration",
    ],
)
async def test_an_unknown_path_is_answered_404_without_a_token(clients: Clients, path: str) -> None:
    for client, method in product(clients, ("GET", "POST", "HEAD")):
        response = await client.request(method, path)
        assert response.status_code == 404
        assert "www-authenticate" not in response.headers


@pytest.mark.parametrize("path", ["/mcp", METRICS_PATH, "/%6dcp", "/mcp?a=/health"])
async def test_a_known_path_needs_a_token(clients: Clients, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS"):
        response = await clients.team.request(method, path)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer ")


def _failing_app(error: Exception, *, reads: bool) -> ASGIApp:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        if reads:
            await receive()
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "levels"), [(ClientDisconnect(), ["DEBUG"]), (OSError("a"), ["WARNING"])], ids=repr
)
async def test_a_failure_without_a_client_is_one_line(
    caplog: pytest.LogCaptureFixture, error: Exception, levels: Sequence[str]
) -> None:
    caplog.set_level("DEBUG", "snapshot_mcp")
    await _run(_failing_app(error, reads=True))
    assert [record.levelname for record in caplog.records] == levels
    caplog.clear()
    with pytest.raises(type(error)):
        await _run(_failing_app(error, reads=False))
    assert caplog.records == []


async def _run(app: ASGIApp) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        pytest.fail("nothing is sent")

    await DisconnectMiddleware(app)({"type": "http"}, receive, send)
