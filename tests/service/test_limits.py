"""A service for a small team: static tokens, quotas, names, request ids, a port beyond loopback."""

import json
import re
from collections.abc import Generator
from typing import Any

import pytest

from snapshot_mcp.transports.http.quotas import MAX_REQUEST_BYTES, Quotas
from snapshot_mcp.transports.http.scopes import READ
from tests.conftest import ManualClock
from tests.processes.helpers import Upstream, free_port
from tests.processes.http_server import http_server
from tests.service.conftest import Service
from tests.service.conversation import (
    ERAS,
    LEGACY,
    MODERN,
    bearer_headers,
    call_tool,
    make_http_client,
    open_session,
    send_request,
)
from tests.service.issuer import Issuer, ec_key

ALICE, ROBOT, BUSY = "a" * 32, "b" * 32, "c" * 32
A_MINUTE = 30


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, measuring: dict[str, str]) -> Generator[Service]:
    """A service at every address of this machine, for those whom a file names."""
    folder, cloud = tmp_path_factory.mktemp("team"), tmp_path_factory.mktemp("cloud")
    tokens = folder / "tokens"
    tokens.write_text(f"alice {ALICE}\nci {ROBOT} {READ}\nbusy {BUSY} {READ}\n")
    settings = {
        "SNAPSHOT_MCP_BEARER_TOKEN_FILE": str(tokens),
        "SNAPSHOT_MCP_ALLOWED_HOSTS": "snapshots.example",
        "SNAPSHOT_MCP_ALLOWED_ORIGINS": "https://app.example",
        "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": str(A_MINUTE),
    }
    settings |= measuring
    host = ("--host", "0.0.0.0")  # noqa: S104 - what the setting is for
    with (
        Upstream(cloud / "cloud.db").serve() as upstream,
        http_server(folder, free_port(), *host, **upstream.settings, **settings) as server,
        make_http_client(server.url) as http,
    ):
        yield Service(server, Issuer("", [ec_key("none")]), upstream, folder, http)
        http.close()
        server.terminate()
        assert not any("Traceback" in line for line in server.output)
        assert not any(it in "".join(server.output) for it in (ALICE, ROBOT, BUSY))


@pytest.mark.parametrize("era", ERAS)
def test_a_static_token_does_what_its_line_says(team: Service, era: str) -> None:
    assert call_tool(team.http, era, ALICE, "list_snapshots", {}).is_success
    assert call_tool(team.http, era, ROBOT, "list_snapshots", {}).is_success
    team.upstream.requests.clear()
    refused = call_tool(team.http, era, ROBOT, "delete_snapshot", {"snapshot_id": 1})
    assert refused.status_code == 403
    assert call_tool(team.http, era, "d" * 32, "list_snapshots", {}, "s").status_code == 401
    assert team.upstream.requests == []


def test_without_an_issuer_the_challenge_names_none(team: Service) -> None:
    answer = send_request(team.http, MODERN, None, "tools/list")
    assert answer.headers["www-authenticate"] == f'Bearer scope="{READ}"'
    assert team.server.get("/.well-known/oauth-protected-resource").status_code == 401


def test_who_asks_too_often_is_told_when_to_come_back_and_the_others_are_served(
    team: Service,
) -> None:
    answers = [send_request(team.http, MODERN, BUSY, "tools/list") for _ in range(A_MINUTE + 1)]
    assert {it.status_code for it in answers[:-1]} == {200}
    assert answers[-1].status_code == 429
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert "Nothing was changed." in answers[-1].json()["error_description"]
    assert send_request(team.http, MODERN, ROBOT, "tools/list").is_success


def test_a_quota_is_of_any_minute_and_of_each_by_themselves() -> None:
    turned = ManualClock()
    quotas = Quotas(2, turned.clock)
    assert [quotas.seconds_until_permitted("a") for _ in range(2)] == [0, 0]
    turned.turn(seconds=20)
    assert quotas.seconds_until_permitted("a") == pytest.approx(40, abs=0.1)
    assert quotas.seconds_until_permitted("b") == 0
    turned.turn(seconds=41)
    assert quotas.seconds_until_permitted("a") == 0


@pytest.mark.parametrize("era", ERAS)
def test_only_the_names_that_it_has_are_answered(team: Service, era: str) -> None:
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


def test_a_body_beyond_the_limit_is_refused(team: Service) -> None:
    long = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "x": "y" * MAX_REQUEST_BYTES})
    for token in (ALICE, ROBOT):
        assert team.server.post_raw(long, **bearer_headers(token)).status_code == 413
    assert team.server.post_raw(long).status_code == 401


def test_each_answer_has_the_id_of_its_request_and_so_has_the_log(team: Service) -> None:
    given = send_request(
        team.http, MODERN, "wrong", "tools/list", None, "", **{"x-request-id": "from-the-proxy.1"}
    )
    assert given.headers["x-request-id"] == "from-the-proxy.1"
    assert any("request from-the-proxy.1: 401" in line for line in team.server.output)
    made = {team.http.get("/health").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", it) for it in made)
    odd = team.http.get("/health", headers={"x-request-id": "a b\x01" + "c" * 99})
    assert re.fullmatch("[0-9a-f]{16}", odd.headers["x-request-id"])
