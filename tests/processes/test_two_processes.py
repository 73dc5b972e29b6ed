"""Two servers on one data folder, as started by two assistants on one machine."""

from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.helpers import (
    RequestBarrier,
    StdioServer,
    Upstream,
    commit_arguments,
    error_text,
    list_ready_snapshots,
    ready_server,
    structured_content,
    target_arguments,
)

pytestmark = pytest.mark.slow

ROUNDS = 5
USED_PLAN_MESSAGE = "This plan was already used; a plan can be used once."
# The last path that each tool reads before it writes.
LAST_READ = {"delete_snapshot": "/v1/core/snapshots", "restore_snapshot": "/v1/pricebook"}
OUTCOMES = {"delete_snapshot": "deleted", "restore_snapshot": "pending"}


class Pair(NamedTuple):
    """Two servers on one data folder, and their cloud."""

    upstream: Upstream
    one: StdioServer
    other: StdioServer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with (
        Upstream(folder / "upstream" / "cloud.db").serve() as upstream,
        ready_server(folder / "shared", **upstream.settings) as one,
        ready_server(folder / "shared", **upstream.settings) as other,
    ):
        yield Pair(upstream, one, other)
        assert one.stderr == other.stderr == ""


@pytest.mark.parametrize("tool", LAST_READ)
def test_only_one_of_two_processes_that_commit_a_plan_concurrently_writes(
    pair: Pair, tool: str
) -> None:
    upstream, one, other = pair
    for number in range(ROUNDS):
        planner, follower = (one, other) if number % 2 else (other, one)
        snapshot = list_ready_snapshots(planner)[0]
        commit = commit_arguments(
            planner, tool, target_arguments(tool, snapshot["id"], f"back-{number}")
        )
        if tool == "restore_snapshot":
            commit["wait_seconds"] = 0
        upstream.requests.clear()
        # Both find the plan unused and the target unchanged before either writes.
        upstream.barrier = RequestBarrier(LAST_READ[tool], parties=2)
        calls = [(server, server.start_call(tool, **commit)) for server in (follower, planner)]
        responses = [server.wait_for_response(call) for server, call in calls]
        assert upstream.barrier.waiting >= 2
        upstream.barrier = None

        winners = [response for response in responses if not response["result"].get("isError")]
        losers = [response for response in responses if response["result"].get("isError")]
        assert [structured_content(response)["outcome"] for response in winners] == [OUTCOMES[tool]]
        assert [error_text(response).startswith(USED_PLAN_MESSAGE) for response in losers] == [True]
        assert len(upstream.writes) == 1, upstream.writes
        assert f"/v1/core/snapshots/{snapshot['id']}" in upstream.writes[0]


def test_two_processes_share_the_embedded_cloud_its_seeding_and_plans(tmp_path: Path) -> None:
    with ready_server(tmp_path) as one, ready_server(tmp_path) as other:
        # The first calls of both run concurrently and find no database.
        calls = [
            (server, server.start_call("list_snapshots", limit=100)) for server in (one, other)
        ]
        pages = [structured_content(server.wait_for_response(call)) for server, call in calls]
        assert pages[0] == pages[1]
        ids = [snapshot["id"] for snapshot in pages[0]["snapshots"]]
        assert len(ids) == len(set(ids)) == pages[0]["total"] > 0

        snapshot = list_ready_snapshots(one)[0]
        plans = [
            (server, server.start_call("delete_snapshot", snapshot_id=snapshot["id"]))
            for server in (one, other)
        ]
        tokens = [
            structured_content(server.wait_for_response(call))["plan_token"]
            for server, call in plans
        ]
        commit = {"snapshot_id": snapshot["id"], "confirm": snapshot["name"]}
        deleted_id = snapshot["id"]
        deleted = other.call_tool("delete_snapshot", **commit, plan_token=tokens[0])
        assert deleted["outcome"] == "deleted"
        assert one.call_tool_error("delete_snapshot", **commit, plan_token=tokens[0]).startswith(
            USED_PLAN_MESSAGE
        )
        assert "no snapshot" in one.call_tool_error(
            "delete_snapshot", **commit, plan_token=tokens[1]
        )
        for server in (one, other):
            page = server.call_tool("list_snapshots", limit=100)
            assert [snapshot["id"] for snapshot in page["snapshots"]] == [
                snapshot_id for snapshot_id in ids if snapshot_id != deleted_id
            ]
