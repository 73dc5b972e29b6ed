"""Servers beside each other, and one whose issuer is away."""

from pathlib import Path
from typing import Any

import pytest

from snapshot_mcp.transports.http.error_responses import RETRY_AFTER_SECONDS
from snapshot_mcp.transports.http.scopes import READ
from tests.processes.helpers import Upstream, free_port
from tests.processes.http_server import HttpServer, http_server
from tests.service.conversation import MODERN, call_tool, make_http_client
from tests.service.issuer import Issuer, ec_key

pytestmark = pytest.mark.slow


def result_of(server: HttpServer, tool: str, **arguments: object) -> dict[str, Any]:
    """The result of a call, whatever it is."""
    with make_http_client(server.url) as http:
        return call_tool(http, MODERN, None, tool, arguments).json()["result"]


def test_a_plan_of_one_server_is_taken_by_another_that_has_its_key(tmp_path: Path) -> None:
    with Upstream(tmp_path / "cloud.db").serve() as upstream:
        both = upstream.settings | {"SNAPSHOT_MCP_SIGNING_KEY": "k" * 43}
        with (
            http_server(tmp_path / "one", free_port(), **both) as one,
            http_server(tmp_path / "two", free_port(), **both) as two,
        ):
            listed = result_of(one, "list_snapshots", state="ready", limit=1)["structuredContent"]
            target = {"snapshot_id": listed["snapshots"][0]["id"]}
            plan = result_of(one, "delete_snapshot", **target)["structuredContent"]
            words = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            done = result_of(two, "delete_snapshot", **target, **words)["structuredContent"]
            assert done["outcome"] in {"deleted", "pending"}
    assert upstream.writes == [f"DELETE /v1/core/snapshots/{target['snapshot_id']}"]


def test_while_the_issuer_never_answered_a_token_is_answered_503_and_nothing_is_sent(
    tmp_path: Path,
) -> None:
    nowhere = Issuer("https://snapshots.example/mcp", [ec_key("ec-1")])
    with Upstream(tmp_path / "cloud.db").serve() as upstream:
        settings = upstream.settings | nowhere.settings
        with (
            http_server(tmp_path / "data", free_port(), **settings) as server,
            make_http_client(server.url) as http,
        ):
            answer = call_tool(http, MODERN, nowhere.token(READ), "list_snapshots", {})
            assert server.get("/health").is_success
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == str(RETRY_AFTER_SECONDS)
        assert "issuer" in answer.json()["error_description"]
        assert upstream.requests == []
