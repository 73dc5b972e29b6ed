"""Two servers on one data folder, as two assistants on one machine start them."""

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
USED = "This plan was already used; a plan can be used once."
# The last thing that each tool reads before it writes.
LAST_READ = {"delete_snapshot": "/v1/core/snapshots", "restore_snapshot": "/v1/pricebook"}
DONE = {"delete_snapshot": "deleted", "restore_snapshot": "pending"}


class Pair(NamedTuple):
    """Two servers on one data folder, and the cloud that both use."""

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
def test_of_two_processes_that_commit_one_plan_at_the_same_time_one_alone_writes(
    pair: Pair, tool: str
) -> None:
    upstream, one, other = pair
    for number in range(ROUNDS):
        maker, fellow = (one, other) if number % 2 else (other, one)
        snapshot = list_ready_snapshots(maker)[0]
        commit = commit_arguments(
            maker, tool, target_arguments(tool, snapshot["id"], f"back-{number}")
        )
        if tool == "restore_snapshot":
            commit["wait_seconds"] = 0
        upstream.requests.clear()
        # Both have found the plan unused and the target unchanged before either may write.
        upstream.barrier = RequestBarrier(LAST_READ[tool], guests=2)
        calls = [(server, server.start_call(tool, **commit)) for server in (fellow, maker)]
        answers = [server.wait_for_response(call) for server, call in calls]
        assert upstream.barrier.waiting >= 2
        upstream.barrier = None

        winners = [it for it in answers if not it["result"].get("isError")]
        losers = [it for it in answers if it["result"].get("isError")]
        assert [structured_content(it)["outcome"] for it in winners] == [DONE[tool]]
        assert [error_text(it).startswith(USED) for it in losers] == [True]
        assert len(upstream.writes) == 1, upstream.writes
        assert f"/v1/core/snapshots/{snapshot['id']}" in upstream.writes[0]


def test_two_processes_share_the_embedded_cloud_its_seeding_and_the_plans(tmp_path: Path) -> None:
    with ready_server(tmp_path) as one, ready_server(tmp_path) as other:
        # The first call of both, at the same time, finds no database yet.
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
        deleted = other.call_tool("delete_snapshot", **commit, plan_token=tokens[0])
        assert deleted["outcome"] == "deleted"
        assert one.call_tool_error("delete_snapshot", **commit, plan_token=tokens[0]).startswith(
            USED
        )
        assert "no snapshot" in one.call_tool_error(
            "delete_snapshot", **commit, plan_token=tokens[1]
        )
        for server in (one, other):
            page = server.call_tool("list_snapshots", limit=100)
            assert [it["id"] for it in page["snapshots"]] == [
                it for it in ids if it != snapshot["id"]
            ]
