"""A server killed between a write and its end: the next start settles it as the cloud has it."""

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.chain import Attempt
from snapshot_mcp.clock import utc_now
from snapshot_mcp.ledger import Ledger, Row
from snapshot_mcp.sandbox.app import create_app
from snapshot_mcp.settings import LEDGER_FILE
from tests.processes.conftest import Command
from tests.processes.helpers import (
    KEY,
    StdioServer,
    Upstream,
    environment,
    hang,
    planned,
    ready_server,
    ready_snapshots,
    run,
    stdio_server,
    targeted,
    until,
)

TOOLS = ("create_snapshot", "restore_snapshot", "delete_snapshot")


def applied_and_not_answered(app: ASGIApp) -> ASGIApp:
    """A cloud that does what it is asked, and whose answer never comes."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        async def swallow(_: Message) -> None:
            return

        await app(scope, receive, swallow)
        done.append(scope["path"])
        await hang(scope, receive, send)

    return silent


done: list[str] = []


def commit_of(server: StdioServer, tool: str) -> dict[str, object]:
    """Arguments with which the tool writes."""
    if tool == "create_snapshot":
        return {"vm_id": 793702, "name": "before-the-crash", "allow_interruption": True}
    snapshot = ready_snapshots(server)[0]
    return planned(server, tool, targeted(tool, snapshot["id"], "back-again"))


def ledger(folder: Path, tool: str = "") -> list[Row]:
    """The rows that a server left behind."""
    return anyio.run(partial(Ledger(folder / LEDGER_FILE, utc_now).rows, tool=tool))


def kill_in_the_midst(folder: Path, upstream: Upstream, tool: str) -> None:
    with stdio_server(folder, **upstream.settings) as server:
        server.initialize()
        arguments = commit_of(server, tool)
        upstream.seen.clear()
        server.send(tool, **arguments)
        until(lambda: bool(upstream.writes), "the write")
        if upstream.instead is not hang:
            until(lambda: bool(done), "what the write does")
        server.kill()


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("cloud", ["did it", "did not"])
def test_what_was_sent_and_not_seen_to_end_is_settled_at_the_next_start(
    tmp_path: Path, tool: str, cloud: str
) -> None:
    happened = cloud == "did it"
    database = tmp_path / "cloud" / "cloud.db"
    folder = tmp_path / "data"
    done.clear()
    with Upstream(database).serving() as upstream:
        app = create_app(database=database, api_key=KEY, now=upstream.now)
        upstream.instead = applied_and_not_answered(app) if happened else hang
        upstream.instead_of = ("POST", "DELETE")
        kill_in_the_midst(folder, upstream, tool)
        assert ledger(folder, tool)[-1].event == "sent"
        upstream.instead = None
        with ready_server(folder, **upstream.settings) as server:
            ready_snapshots(server)
        writes = upstream.writes
    last = ledger(folder, tool)[-1]
    assert last.event == ("done" if happened else "failed")
    assert last.reason.startswith("settled after a crash")
    assert len(writes) == 1
    assert anyio.run(Ledger(folder / LEDGER_FILE, utc_now).verify) == []
    assert list((folder / "owners").glob("*.db")) == []


def test_the_ledger_is_shown_and_verified_where_there_is_none(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path / "nothing")
    shown = command("ledger", env=env)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
    verified = command("ledger", "verify", env=env)
    assert (verified.returncode, verified.stdout) == (0, "The ledger is whole.\n")


def test_the_ledger_is_shown_on_a_console_that_is_not_utf_8(tmp_path: Path) -> None:
    row = Attempt(
        "a1", "delete_snapshot", 1, {"note": "\u6771\u4eac"}, "me", "arguments", "caf\u00e9"
    )
    anyio.run(Ledger(tmp_path / "ledger.db", utc_now).record, "planned", row, "")
    env = environment(tmp_path, PYTHONIOENCODING="ascii")
    shown = run("ledger", env=env)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "caf\\xe9" in shown.stdout
    assert "\\u6771\\u4eac" in shown.stdout


def test_an_altered_ledger_is_told_with_exit_code_1(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path)
    with ready_server(tmp_path) as server:
        snapshot = ready_snapshots(server)[0]
        server.refused("delete_snapshot", snapshot_id=snapshot["id"], confirm="yes")
        planned(server, "delete_snapshot", {"snapshot_id": snapshot["id"]})
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("DROP TRIGGER attempts_are_not_updated")
        connection.execute("UPDATE attempts SET reason = 'nothing happened' WHERE id = 1")
    told = command("ledger", "verify", env=env)
    assert told.returncode == 1
    assert "1" in told.stdout
    text = command("ledger", "--event", "planned", env=env).stdout
    assert text.count("\n") == 1
    assert "delete_snapshot" in text
    lines = command("ledger", "--json", "--tool", "delete_snapshot", env=env).stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["refused", "planned"]
    assert command("ledger", "--json", "--tool", "restore_snapshot", env=env).stdout == ""
