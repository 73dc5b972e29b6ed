"""A service for a small team: static tokens, quotas, host names, request ids, a public address."""

import json
import re
from collections.abc import Generator
from typing import Any

import pytest

from snapshot_mcp.transports.http.principal_limits import MAX_REQUEST_BYTES
from snapshot_mcp.transports.http.quotas import Quotas
from snapshot_mcp.transports.http.scopes import READ
from tests.conftest import ManualClock
from tests.processes.helpers import Upstream, free_port
from tests.processes.http_server import http_server
from tests.service.conftest import Service
from tests.service.issuer import Issuer, ec_key
from tests.service.raw_requests import (
    ERAS,
    LEGACY,
    MODERN,
    bearer_headers,
    call_tool,
    make_http_client,
    open_session,
    send_request,
)

ALICE, CI, BUSY = "a" * 32, "b" * 32, "c" * 32
REQUESTS_PER_MINUTE = 30


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, measuring: dict[str, str]) -> Generator[Service]:
    """Start a service on every address of this machine, with a file of static tokens."""
    folder, cloud = tmp_path_factory.mktemp("team"), tmp_path_factory.mktemp("cloud")
    tokens = folder / "tokens"
    tokens.write_text(f"alice {ALICE}\nci {CI} {READ}\nbusy {BUSY} {READ}\n")
    settings = {
        "SNAPSHOT_MCP_BEARER_TOKEN_FILE": str(tokens),
        "SNAPSHOT_MCP_ALLOWED_HOSTS": "snapshots.example",
        "SNAPSHOT_MCP_ALLOWED_ORIGINS": "https://app.example",
        "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
    }
    settings |= measuring
    host = ("--host", "0.0.0.0")  # noqa: S104 - the purpose of the setting
    with (
        Upstream(cloud / "cloud.db").serve() as upstream,
        http_server(folder, free_port(), *host, **upstream.settings, **settings) as server,
        make_http_client(server.url) as http,
    ):
        yield Service(server, Issuer("", [ec_key("none")]), upstream, folder, http)
        http.close()
        server.terminate()
        assert not any("Traceback" in line for line in server.output)
        assert not any(token in "".join(server.output) for token in (ALICE, CI, BUSY))


@pytest.mark.parametrize("era", ERAS)
def test_a_static_token_has_the_scopes_of_its_line(team: Service, era: str) -> None:
    assert call_tool(team.http, era, ALICE, "list_snapshots", {}).is_success
    assert call_tool(team.http, era, CI, "list_snapshots", {}).is_success
    team.upstream.requests.clear()
    rejected = call_tool(team.http, era, CI, "delete_snapshot", {"snapshot_id": 1})
    assert rejected.status_code == 403
    assert call_tool(team.http, era, "d" * 32, "list_snapshots", {}, "s").status_code == 401
    assert team.upstream.requests == []


def test_the_challenge_names_no_metadata_without_an_issuer(team: Service) -> None:
    response = send_request(team.http, MODERN, None, "tools/list")
    assert response.headers["www-authenticate"] == f'Bearer scope="{READ}"'
    for path in ("", "/mcp"):
        metadata = team.server.get(f"/.well-known/oauth-protected-resource{path}")
        assert metadata.status_code == 404
        assert "www-authenticate" not in metadata.headers


def test_a_principal_over_its_quota_gets_429_and_others_are_served(
    team: Service,
) -> None:
    responses = [
        send_request(team.http, MODERN, BUSY, "tools/list") for _ in range(REQUESTS_PER_MINUTE + 1)
    ]
    assert {response.status_code for response in responses[:-1]} == {200}
    assert responses[-1].status_code == 429
    assert 0 < int(responses[-1].headers["retry-after"]) <= 60
    assert "Nothing was changed." in responses[-1].json()["error_description"]
    assert send_request(team.http, MODERN, CI, "tools/list").is_success


def test_a_quota_counts_any_sixty_seconds_of_each_principal() -> None:
    manual_clock = ManualClock()
    quotas = Quotas(2, manual_clock.clock)
    assert [quotas.seconds_until_permitted("a") for _ in range(2)] == [0, 0]
    manual_clock.advance(seconds=20)
    assert quotas.seconds_until_permitted("a") == pytest.approx(40, abs=0.1)
    assert quotas.seconds_until_permitted("b") == 0
    manual_clock.advance(seconds=41)
    assert quotas.seconds_until_permitted("a") == 0


@pytest.mark.parametrize("era", ERAS)
def test_only_allowed_hosts_and_origins_are_accepted(team: Service, era: str) -> None:
    def status(**headers: str) -> int:
        params: dict[str, Any] = {"name": "list_snapshots", "arguments": {}}
        session = open_session(team.http, ALICE) if era == LEGACY else ""
        return send_request(
            team.http, era, ALICE, "tools/call", params, session, **headers
        ).status_code

    assert status(host="snapshots.example") == 200
    assert status(host="evil.example") == 421
    assert status(host="snapshots.example.evil.example") == 421
    assert status(origin="https://app.example") == 200
    assert status(origin="https://evil.example") == 403


@pytest.mark.parametrize("era", ERAS)
def test_a_page_of_an_allowed_origin_can_read_the_answer_of_a_call(team: Service, era: str) -> None:
    origin = {"origin": "https://app.example"}
    session = open_session(team.http, ALICE) if era == LEGACY else ""
    response = call_tool(team.http, era, ALICE, "list_snapshots", {}, session, **origin)
    assert response.is_success
    assert response.headers["access-control-allow-origin"] == origin["origin"]
    assert "Mcp-Session-Id" in response.headers["access-control-expose-headers"]


def test_a_body_beyond_the_limit_is_rejected(team: Service) -> None:
    long_body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "x": "y" * MAX_REQUEST_BYTES}
    )
    for token in (ALICE, CI):
        assert team.server.post_raw(long_body, **bearer_headers(token)).status_code == 413
    assert team.server.post_raw(long_body).status_code == 401


def test_responses_carry_the_request_id(team: Service) -> None:
    with_proxy_id = send_request(
        team.http, MODERN, "wrong", "tools/list", None, "", **{"x-request-id": "from-the-proxy.1"}
    )
    assert with_proxy_id.headers["x-request-id"] == "from-the-proxy.1"
    request_ids = {team.http.get("/health").headers["x-request-id"] for _ in range(2)}
    assert len(request_ids) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", request_id) for request_id in request_ids)
    invalid_id = team.http.get("/health", headers={"x-request-id": "a b\x01" + "c" * 99})
    assert re.fullmatch("[0-9a-f]{16}", invalid_id.headers["x-request-id"])
