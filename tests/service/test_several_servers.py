"""Two servers with one signing key, and a server whose issuer is down."""

from pathlib import Path
from typing import Any

import pytest

from snapshot_mcp.transports.http.error_responses import RETRY_AFTER_SECONDS
from snapshot_mcp.transports.http.scopes import READ
from tests.processes.helpers import Upstream, free_port
from tests.processes.http_server import HttpServer, http_server
from tests.service.issuer import Issuer, ec_key
from tests.service.raw_requests import MODERN, call_tool, make_http_client

pytestmark = pytest.mark.slow


def call_result(server: HttpServer, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool and return the result, without checking it."""
    with make_http_client(server.url) as http:
        return call_tool(http, MODERN, None, tool, arguments).json()["result"]


def test_a_plan_is_accepted_by_another_server_with_the_same_signing_key(tmp_path: Path) -> None:
    with Upstream(tmp_path / "cloud.db").serve() as upstream:
        both = upstream.settings | {"SNAPSHOT_MCP_SIGNING_KEY": "k" * 43}
        with (
            http_server(tmp_path / "one", free_port(), **both) as one,
            http_server(tmp_path / "two", free_port(), **both) as two,
        ):
            listed = call_result(one, "list_snapshots", state="ready", limit=1)["structuredContent"]
            target = {"snapshot_id": listed["snapshots"][0]["id"]}
            plan = call_result(one, "delete_snapshot", **target)["structuredContent"]
            commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            done = call_result(two, "delete_snapshot", **target, **commit)["structuredContent"]
            assert done["outcome"] in {"deleted", "pending"}
    assert upstream.writes == [f"DELETE /v1/core/snapshots/{target['snapshot_id']}"]


def test_a_token_gets_503_while_the_issuer_never_responded(
    tmp_path: Path,
) -> None:
    unreachable = Issuer("https://snapshots.example/mcp", [ec_key("ec-1")])
    with Upstream(tmp_path / "cloud.db").serve() as upstream:
        settings = upstream.settings | unreachable.settings
        with (
            http_server(tmp_path / "data", free_port(), **settings) as server,
            make_http_client(server.url) as http,
        ):
            response = call_tool(http, MODERN, unreachable.token(READ), "list_snapshots", {})
            assert server.get("/health").is_success
        assert response.status_code == 503
        assert response.headers["retry-after"] == str(RETRY_AFTER_SECONDS)
        assert "issuer" in response.json()["error_description"]
        assert upstream.requests == []
