"""The requests that a real server sends, recorded by an embedded cloud on a real port."""

from collections.abc import Generator
from pathlib import Path
from secrets import token_hex

import pytest
from starlette.responses import JSONResponse

from tests.processes.helpers import (
    HTML_RESPONSE,
    KEY,
    Message,
    StdioServer,
    Upstream,
    commit_arguments,
    list_ready_snapshots,
    never_respond,
    ready_server,
    target_arguments,
    until,
)

pytestmark = pytest.mark.slow

COMMIT_TOOLS = ("delete_snapshot", "restore_snapshot")
USED_PLAN_MESSAGE = "This plan was already used; a plan can be used once."


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Generator[Upstream]:
    with Upstream(tmp_path_factory.mktemp("upstream") / "cloud.db").serve() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Generator[StdioServer]:
    """Start one server for all tests of this module; each uses its own target."""
    folder = tmp_path_factory.mktemp("server")
    with ready_server(folder, SNAPSHOT_MCP_TIMEOUT="2", **upstream.settings) as server:
        yield server
        assert server.stderr == ""
        assert KEY not in server.stdout


@pytest.fixture(autouse=True)
def reset_upstream(upstream: Upstream) -> Generator[None]:
    """Clear the recorded requests before each test, and restore the upstream after it."""
    upstream.requests.clear()
    yield
    upstream.replacement = None
    upstream.replaced_methods = ("GET", "POST", "DELETE")


def find_target(server: StdioServer) -> Message:
    """Return the newest ready snapshot without an image."""
    return next(
        snapshot
        for snapshot in list_ready_snapshots(server)
        if "derived_image" not in server.call_tool("inspect_snapshot", snapshot_id=snapshot["id"])
    )


def commit_of_new_plan(server: StdioServer, tool: str) -> dict[str, object]:
    """Create a plan for a target and return the arguments that commit it."""
    snapshot_id = find_target(server)["id"]
    return commit_arguments(
        server, tool, target_arguments(tool, snapshot_id, f"back-{token_hex(4)}")
    )


def write_request(tool: str, commit: dict[str, object]) -> str:
    """Return the write request of a commit."""
    path = f"/v1/core/snapshots/{commit['snapshot_id']}"
    return f"DELETE {path}" if tool == "delete_snapshot" else f"POST {path}/restore"


@pytest.mark.parametrize("tool", COMMIT_TOOLS)
def test_without_arguments_nothing_is_sent(
    server: StdioServer, upstream: Upstream, tool: str
) -> None:
    assert "is missing" in server.call_tool_error(tool)
    assert upstream.requests == []


@pytest.mark.parametrize("tool", COMMIT_TOOLS)
def test_a_plan_reads_but_writes_nothing(
    server: StdioServer, upstream: Upstream, tool: str
) -> None:
    commit_of_new_plan(server, tool)
    assert upstream.requests
    assert upstream.writes == []


@pytest.mark.parametrize("tool", COMMIT_TOOLS)
@pytest.mark.parametrize("missing", ["plan_token", "confirm"])
def test_incomplete_evidence_sends_nothing(
    server: StdioServer, upstream: Upstream, tool: str, missing: str
) -> None:
    commit = commit_of_new_plan(server, tool)
    del commit[missing]
    assert f"{missing} is missing" in server.call_tool_error(tool, **commit)
    assert upstream.writes == []


@pytest.mark.parametrize("tool", COMMIT_TOOLS)
def test_a_forged_token_sends_nothing(server: StdioServer, upstream: Upstream, tool: str) -> None:
    commit = commit_of_new_plan(server, tool)
    header, claims, signature = str(commit["plan_token"]).split(".")
    reversed_signature = signature[::-1]
    for forged in (
        "nonsense",
        f"{header}.{claims}.{reversed_signature}",
        f"{header}.{claims}.",
        "e30.e30.",
    ):
        text = server.call_tool_error(tool, **(commit | {"plan_token": forged}))
        assert "was not issued by this server" in text
    assert upstream.writes == []


@pytest.mark.parametrize("tool", COMMIT_TOOLS)
def test_the_wrong_words_send_nothing(server: StdioServer, upstream: Upstream, tool: str) -> None:
    commit = commit_of_new_plan(server, tool)
    assert "the words" in server.call_tool_error(tool, **(commit | {"confirm": "yes"}))
    assert upstream.writes == []


@pytest.mark.parametrize("tool", COMMIT_TOOLS)
def test_a_changed_target_sends_nothing_and_returns_a_new_plan(
    server: StdioServer, upstream: Upstream, tool: str
) -> None:
    commit = commit_of_new_plan(server, tool)
    path = f"/core/snapshots/{commit['snapshot_id']}/image"
    upstream.post(path, {"name": f"image-of-{commit['snapshot_id']}", "labels": []})
    new_plan = server.call_tool(tool, **commit)
    assert new_plan["outcome"] == "confirmation_required"
    assert new_plan["plan_token"] != commit["plan_token"]
    assert upstream.writes == []


@pytest.mark.parametrize(
    ("tool", "outcome"), [("delete_snapshot", "deleted"), ("restore_snapshot", "pending")]
)
def test_full_consent_sends_exactly_one_write_and_a_used_token_sends_none(
    server: StdioServer, upstream: Upstream, tool: str, outcome: str
) -> None:
    commit = commit_of_new_plan(server, tool)
    wait = {"wait_seconds": 0} if tool == "restore_snapshot" else {}
    assert server.call_tool(tool, **commit, **wait)["outcome"] == outcome
    assert upstream.writes == [write_request(tool, commit)]
    assert server.call_tool_error(tool, **commit, **wait).startswith(USED_PLAN_MESSAGE)
    assert upstream.writes == [write_request(tool, commit)]


@pytest.mark.parametrize("tool", COMMIT_TOOLS)
def test_a_hanging_write_is_unknown_and_is_never_sent_again(
    server: StdioServer, upstream: Upstream, tool: str
) -> None:
    commit = commit_of_new_plan(server, tool)
    upstream.replacement, upstream.replaced_methods = never_respond, ("DELETE", "POST")
    assert server.call_tool(tool, **commit)["outcome"] == "unknown"
    upstream.replacement = None
    assert server.call_tool_error(tool, **commit).startswith(USED_PLAN_MESSAGE)
    assert upstream.writes == [write_request(tool, commit)]
    assert list_ready_snapshots(server)


def test_a_hanging_cloud_is_reported_in_time_and_the_server_stays_usable(
    server: StdioServer, upstream: Upstream
) -> None:
    commit = commit_of_new_plan(server, "delete_snapshot")
    upstream.replacement = never_respond
    hanging = server.start_call("delete_snapshot", **commit)
    assert server.list_tools()
    assert all(message.get("id") != hanging for message in server.messages)
    text = server.wait_for_response(hanging)["result"]["content"][0]["text"]
    assert "it did not answer in time" in text
    assert upstream.writes == []
    upstream.replacement = None
    assert server.call_tool("delete_snapshot", **commit)["outcome"] == "deleted"


def test_a_web_page_in_place_of_the_api_is_reported_but_not_relayed(
    server: StdioServer, upstream: Upstream
) -> None:
    upstream.replacement = HTML_RESPONSE
    text = server.call_tool_error("list_snapshots")
    assert "is not JSON" in text
    assert "Sign in" not in text
    upstream.replacement = None
    assert list_ready_snapshots(server)


@pytest.mark.parametrize("status", [400, 403, 409, 500])
def test_error_messages_of_the_cloud_are_not_relayed(
    server: StdioServer, upstream: Upstream, status: int
) -> None:
    upstream.replacement = JSONResponse({"status": False, "message": f"No, {KEY}!"}, status)
    text = server.call_tool_error("list_snapshots")
    assert KEY not in text
    assert "Nothing was changed." in text
    upstream.replacement = None
    assert list_ready_snapshots(server)


def succeeds(server: StdioServer, tool: str) -> bool:
    return not server.wait_for_response(server.start_call(tool))["result"].get("isError")


def test_a_cloud_is_used_again_after_an_outage(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream" / "cloud.db")
    with ready_server(tmp_path / "server", **upstream.settings) as server:
        assert "could not be reached" in server.call_tool_error("list_snapshots")
        with upstream.serve():
            commit = commit_of_new_plan(server, "delete_snapshot")
        for tool, arguments in (("list_snapshots", {}), ("delete_snapshot", commit)):
            text = server.call_tool_error(tool, **arguments)
            assert "could not be reached" in text or "has not answered since" in text
        with upstream.serve():
            # After a few failures, no requests are sent for a while; then one call tries again.
            until(lambda: succeeds(server, "list_snapshots"), "the end of the outage")
            assert server.call_tool("delete_snapshot", **commit)["outcome"] == "deleted"
        assert upstream.writes == [write_request("delete_snapshot", commit)]


def test_a_wrong_key_is_reported_and_neither_key_is_shown(
    upstream: Upstream, tmp_path: Path
) -> None:
    wrong = "wr0ng-and-not-for-eyes-either"
    settings = upstream.settings | {"SNAPSHOT_MCP_API_KEY": wrong}
    with ready_server(tmp_path, **settings) as server:
        for tool, arguments in (("list_snapshots", {}), ("delete_snapshot", {"snapshot_id": 1})):
            text = server.call_tool_error(tool, **arguments)
            assert text.startswith("The cloud rejected the API key. Nothing was changed.")
        assert wrong not in server.stdout + server.stderr
        assert KEY not in server.stdout + server.stderr
    assert upstream.writes == []
