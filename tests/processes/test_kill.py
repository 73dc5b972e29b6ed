"""A server that is killed at any moment leaves sound databases and no untold write."""

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
from tests.units.ledgers import LedgerKind

pytestmark = pytest.mark.slow

ENDS = ("done", "failed", "unknown")
ROUNDS = 4
MILLISECONDS_A_ROUND = 20


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query finds; nothing where there is no such file yet."""
    if not file.exists():
        return []
    with closing(sqlite3.connect(file, timeout=5)) as connection:
        return connection.execute(query).fetchall()


def assert_sound(folder: Path, ledger_kind: LedgerKind | None = None) -> None:
    for name in (CLOUD_FILE, LEDGER_FILE):
        assert rows(folder / name, "PRAGMA integrity_check") in ([], [("ok",)])
        assert rows(folder / name, "PRAGMA foreign_key_check") == []
    if ledger_kind is not None:
        assert anyio.run(ledger_kind.open(folder).verify) == []


def snapshot_ids(folder: Path) -> set[int]:
    return {row[0] for row in rows(folder / CLOUD_FILE, "SELECT id FROM snapshots")}


def started(server: StdioServer) -> list[Message]:
    """The ready snapshots of a server that has just started; a delete can be planned as well."""
    server.initialize()
    ready = list_ready_snapshots(server)
    commit_arguments(
        server, "delete_snapshot", target_arguments("delete_snapshot", ready[0]["id"], "")
    )
    return ready


def put_in_flight(server: StdioServer, ready: list[Message], number: int) -> dict[str, int]:
    """Send a delete, a restore and a creation at once; the ids of the calls."""
    vms = server.call_tool("list_virtual_machines")["virtual_machines"]
    able = [vm["id"] for vm in vms if vm["can_snapshot"]]
    delete = target_arguments("delete_snapshot", ready[-1]["id"], "")
    restore = target_arguments("restore_snapshot", ready[0]["id"], f"back-{number}")
    commits = {
        "delete_snapshot": commit_arguments(server, "delete_snapshot", delete),
        "restore_snapshot": commit_arguments(server, "restore_snapshot", restore),
        "create_snapshot": {
            "vm_id": able[number % len(able)],
            "name": f"in-flight-{number}",
            "allow_interruption": True,
        },
    }
    return {tool: server.start_call(tool, **commit) for tool, commit in commits.items()}


def outcome(server: StdioServer, call: int) -> str:
    """What the server had answered by the time it was killed."""
    answers = [it["result"] for it in server.messages if it.get("id") == call]
    return answers[0].get("structuredContent", {}).get("outcome", "") if answers else ""


def test_a_server_killed_with_calls_in_flight_leaves_sound_databases_and_starts_again(
    tmp_path: Path, ledger_kind: LedgerKind
) -> None:
    gone, settings = set[int](), ledger_kind.settings(tmp_path)
    for number in range(ROUNDS):
        with stdio_server(tmp_path, **settings) as server:
            ready = started(server)
            victim = int(ready[-1]["id"])
            calls = put_in_flight(server, ready, number)
            if number == ROUNDS - 1:
                server.wait_for_response(calls["delete_snapshot"])
            else:
                sleep(number * MILLISECONDS_A_ROUND / 1000)
            server.kill()
            told = outcome(server, calls["delete_snapshot"])
        assert_sound(tmp_path, ledger_kind)
        left = snapshot_ids(tmp_path)
        assert told in ("", "deleted")
        assert told == "" or victim not in left
        if victim not in left:
            gone.add(victim)
    with stdio_server(tmp_path, **settings) as server:
        assert not gone & {snapshot["id"] for snapshot in started(server)}
        assert server.close_stdin() == 0
    assert_sound(tmp_path, ledger_kind)
    recorded = anyio.run(ledger_kind.open(tmp_path).rows)
    sent = [row for row in recorded if row.event == "sent"]
    assert len({row.attempt for row in sent}) == len(sent)
    # Nothing is gone that was not recorded before it was sent.
    assert gone
    assert gone <= {row.target for row in sent}
    # Each start settled what the one before left open, once.
    ended = Counter(row.attempt for row in recorded if row.event in ENDS)
    assert ended == {row.attempt: 1 for row in sent}


@pytest.mark.parametrize("milliseconds", [0, 20])
def test_a_server_killed_while_its_first_call_seeds_the_cloud_starts_again(
    milliseconds: int, tmp_path: Path
) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        server.start_call("list_snapshots")
        until((tmp_path / CLOUD_FILE).exists, "the first file")
        sleep(milliseconds / 1000)
        server.kill()
    assert_sound(tmp_path)
    # All of the seed or none of it.
    count = rows(tmp_path / CLOUD_FILE, "SELECT count(*) FROM sqlite_master WHERE name='snapshots'")
    assert count in ([], [(0,)]) or len(snapshot_ids(tmp_path)) == 30
    with stdio_server(tmp_path) as server:
        assert len(started(server)) == 29
        assert server.close_stdin() == 0
