"""Two servers with one signing key, and a server whose issuer is down."""

from pathlib import Path

import pytest

from snapshot_mcp.transports.http.error_responses import RETRY_AFTER_SECONDS
from snapshot_mcp.transports.http.scopes import READ
from tests.processes.helpers import (
    Upstream,
    commit_arguments,
    free_port,
    list_ready_snapshots,
    ready_server,
    target_arguments,
)
from tests.processes.http_server import http_server
from tests.service.issuer import Issuer, ec_key
from tests.service.raw_requests import MODERN, call_tool, make_http_client

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("tool", ["restore_snapshot", "delete_snapshot"])
def test_a_plan_is_refused_by_a_server_with_the_same_signing_key_and_another_ledger(
    tmp_path: Path, tool: str
) -> None:
    with Upstream(tmp_path / "cloud.db").serve() as upstream:
        both = upstream.settings | {"SNAPSHOT_MCP_SIGNING_KEY": "k" * 43}
        with (
            ready_server(tmp_path / "one", **both) as one,
            ready_server(tmp_path / "two", **both) as two,
        ):
            target = list_ready_snapshots(one)[0]["id"]
            commit = commit_arguments(one, tool, target_arguments(tool, target, "back-again"))
            text = two.call_tool_error(tool, **commit)
            assert "The ledger's record of this plan is missing" in text
            assert "Nothing was changed" in text
            assert upstream.writes == []
            assert one.call_tool(tool, **commit)["outcome"] in {"deleted", "restored", "pending"}
            assert "record of this plan is missing" in two.call_tool_error(tool, **commit)
    assert len(upstream.writes) == 1


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
