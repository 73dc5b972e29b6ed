"""A killed server leaves consistent databases and no unrecorded write."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

import anyio
import pytest

from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from tests.processes.helpers import (
    Message,
    StdioServer,
    commit_arguments,
    list_ready_snapshots,
    stdio_server,
    target_arguments,
    until,
)
from tests.unit.ledger.ledger_kinds import LedgerKind

pytestmark = pytest.mark.slow

FINAL_EVENTS = ("done", "failed", "unknown")
ROUNDS = 4
MILLISECONDS_PER_ROUND = 20


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; none if the file does not exist."""
    if not file.exists():
        return []
    with closing(sqlite3.connect(file, timeout=5)) as connection:
        return connection.execute(query).fetchall()


def assert_consistent(folder: Path, ledger_kind: LedgerKind | None = None) -> None:
    for name in (CLOUD_FILE, LEDGER_FILE):
        assert rows(folder / name, "PRAGMA integrity_check") in ([], [("ok",)])
        assert rows(folder / name, "PRAGMA foreign_key_check") == []
    if ledger_kind is not None:
        assert anyio.run(ledger_kind.open(folder).verify) == []


def snapshot_ids(folder: Path) -> set[int]:
    return {row[0] for row in rows(folder / CLOUD_FILE, "SELECT id FROM snapshots")}


def initialize_server(server: StdioServer) -> list[Message]:
    """Initialize a server, check that it can plan a delete, and return its ready snapshots."""
    server.initialize()
    ready = list_ready_snapshots(server)
    commit_arguments(
        server, "delete_snapshot", target_arguments("delete_snapshot", ready[0]["id"], "")
    )
    return ready


def start_calls(server: StdioServer, ready: list[Message], number: int) -> dict[str, int]:
    """Send a delete, a restore and a create, and return the ids of the calls."""
    vms = server.call_tool("list_virtual_machines")["virtual_machines"]
    snapshottable = [vm["id"] for vm in vms if vm["can_snapshot"]]
    delete = target_arguments("delete_snapshot", ready[-1]["id"], "")
    restore = target_arguments("restore_snapshot", ready[0]["id"], f"back-{number}")
    commits = {
        "delete_snapshot": commit_arguments(server, "delete_snapshot", delete),
        "restore_snapshot": commit_arguments(server, "restore_snapshot", restore),
        "create_snapshot": {
            "vm_id": snapshottable[number % len(snapshottable)],
            "name": f"in-flight-{number}",
            "allow_interruption": True,
        },
    }
    return {tool: server.start_call(tool, **commit) for tool, commit in commits.items()}


def outcome(server: StdioServer, call: int) -> str:
    """Return the outcome that the server sent before it was killed, if any."""
    results = [message["result"] for message in server.messages if message.get("id") == call]
    return results[0].get("structuredContent", {}).get("outcome", "") if results else ""


def test_a_server_killed_with_calls_in_flight_leaves_consistent_databases_and_restarts(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    deleted_ids, settings = set[int](), ledger_kind.settings(tmp_path)
    for number in range(ROUNDS):
        with stdio_server(tmp_path, **settings) as server:
            ready = initialize_server(server)
            deleted_id = int(ready[-1]["id"])
            calls = start_calls(server, ready, number)
            if number == ROUNDS - 1:
                server.wait_for_response(calls["delete_snapshot"])
            else:
                sleep(number * MILLISECONDS_PER_ROUND / 1000)
            server.kill()
            reported_outcome = outcome(server, calls["delete_snapshot"])
        assert_consistent(tmp_path, ledger_kind)
        remaining_ids = snapshot_ids(tmp_path)
        assert reported_outcome in ("", "deleted")
        assert reported_outcome == "" or deleted_id not in remaining_ids
        if deleted_id not in remaining_ids:
            deleted_ids.add(deleted_id)
    with stdio_server(tmp_path, **settings) as server:
        assert not deleted_ids & {snapshot["id"] for snapshot in initialize_server(server)}
        assert server.close_stdin() == 0
    assert_consistent(tmp_path, ledger_kind)
    recorded = anyio.run(ledger_kind.open(tmp_path).rows)
    sent = [row for row in recorded if row.event == "sent"]
    assert len({row.attempt for row in sent}) == len(sent)
    # Every deletion was recorded before it was sent.
    assert deleted_ids
    assert deleted_ids <= {row.target for row in sent}
    # Each start settled what the one before had done, exactly once. The rest stays open.
    final_events = Counter(row.attempt for row in recorded if row.event in FINAL_EVENTS)
    assert set(final_events.values()) <= {1}
    done = {row.target for row in recorded if row.event == "done"}
    assert deleted_ids <= done
    assert not any(row.reason.startswith("settled") for row in recorded if row.event == "failed")


@pytest.mark.parametrize("milliseconds", [0, 20])
def test_a_server_killed_while_seeding_the_cloud_restarts(
    milliseconds: int, tmp_path: Path
) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        server.start_call("list_snapshots")
        until((tmp_path / CLOUD_FILE).exists, "the first file")
        sleep(milliseconds / 1000)
        server.kill()
    assert_consistent(tmp_path)
    # The seed is complete or absent.
    count = rows(tmp_path / CLOUD_FILE, "SELECT count(*) FROM sqlite_master WHERE name='snapshots'")
    assert count in ([], [(0,)]) or len(snapshot_ids(tmp_path)) == 30
    with stdio_server(tmp_path) as server:
        assert len(initialize_server(server)) == 29
        assert server.close_stdin() == 0
