"""Servers beside each other, and one that asks nobody who they are."""

from pathlib import Path
from typing import Any

from tests.processes.helpers import Upstream, free_port
from tests.processes.http_server import HttpServer, http_server
from tests.service.conversation import NEW, call, client_of


def test_beside_no_token_loopback_stays_open_and_has_request_ids(tmp_path: Path) -> None:
    with http_server(tmp_path, free_port()) as server, client_of(server.url) as http:
        answer = call(http, NEW, None, "list_snapshots", {"limit": 1})
        assert answer.is_success
        assert answer.headers["x-request-id"]


def result_of(server: HttpServer, tool: str, **arguments: object) -> dict[str, Any]:
    """The result of a call, whatever it is."""
    with client_of(server.url) as http:
        return call(http, NEW, None, tool, arguments).json()["result"]


def test_a_plan_of_one_server_is_taken_by_another_that_has_its_key(tmp_path: Path) -> None:
    with Upstream(tmp_path / "cloud.db").serving() as upstream:
        both = upstream.settings | {"SNAPSHOT_MCP_SIGNING_KEY": "k" * 43}
        with (
            http_server(tmp_path / "one", free_port(), **both) as one,
            http_server(tmp_path / "two", free_port(), **both) as two,
            http_server(tmp_path / "three", free_port(), **upstream.settings) as three,
        ):
            listed = result_of(one, "list_snapshots", state="ready", limit=1)["structuredContent"]
            target = {"snapshot_id": listed["snapshots"][0]["id"]}
            plan = result_of(one, "delete_snapshot", **target)["structuredContent"]
            words = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            refused = result_of(three, "delete_snapshot", **target, **words)
            assert "not issued by this server" in str(refused["content"])
            assert upstream.writes == []
            done = result_of(two, "delete_snapshot", **target, **words)["structuredContent"]
            assert done["outcome"] in {"deleted", "pending"}
    assert upstream.writes == [f"DELETE /v1/core/snapshots/{target['snapshot_id']}"]
