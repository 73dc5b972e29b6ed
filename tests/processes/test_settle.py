"""A server killed between a write and its end: the next start settles it as the cloud has it."""

import json
import sqlite3
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.chain import Attempt, Row
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.sandbox.app import create_app
from tests.postgres.server import Server
from tests.processes.conftest import Command
from tests.processes.helpers import (
    KEY,
    RequestBarrier,
    StdioServer,
    Upstream,
    commit_arguments,
    environment,
    list_ready_snapshots,
    never_respond,
    ready_server,
    run_command,
    stdio_server,
    target_arguments,
    until,
)
from tests.units.ledgers import DatabaseLedgers, LedgerKind

pytestmark = pytest.mark.slow

TOOLS = ("create_snapshot", "restore_snapshot", "delete_snapshot")


def applied_and_not_answered(app: ASGIApp) -> ASGIApp:
    """A cloud that does what it is asked, and whose answer never comes."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        async def swallow(_: Message) -> None:
            return

        await app(scope, receive, swallow)
        done.append(scope["path"])
        await never_respond(scope, receive, send)

    return silent


done: list[str] = []


def commit_of(server: StdioServer, tool: str) -> dict[str, object]:
    """Arguments with which the tool writes."""
    if tool == "create_snapshot":
        return {"vm_id": 793702, "name": "before-the-crash", "allow_interruption": True}
    snapshot = list_ready_snapshots(server)[0]
    return commit_arguments(server, tool, target_arguments(tool, snapshot["id"], "back-again"))


class Scene(NamedTuple):
    """A cloud, a ledger of either kind, and what makes a server use both."""

    upstream: Upstream
    folder: Path
    ledger_kind: LedgerKind

    @property
    def settings(self) -> dict[str, str]:
        return self.upstream.settings | self.ledger_kind.settings(self.folder)

    def rows(self, tool: str) -> list[Row]:
        """The rows that servers left behind."""
        return anyio.run(partial(self.ledger_kind.open(self.folder).rows, tool=tool))

    def kill_in_the_midst(self, tool: str) -> None:
        """Kill a server between a write and its end."""
        with stdio_server(self.folder, **self.settings) as server:
            server.initialize()
            self.write_without_end(server, tool)
            server.kill()
        assert self.rows(tool)[-1].event == "sent"
        self.upstream.replacement = None

    def write_without_end(self, server: StdioServer, tool: str) -> int:
        """Let the server send a write, which the cloud does not answer; the id of the call."""
        arguments = commit_of(server, tool)
        self.upstream.requests.clear()
        call = server.start_call(tool, **arguments)
        until(lambda: bool(self.upstream.writes), "the write")
        if self.upstream.replacement is not never_respond:
            until(lambda: bool(done), "what the write does")
        return call


@pytest.fixture
def scene(tmp_path: Path, ledger_kind: LedgerKind) -> Generator[Scene]:
    with scene_of(tmp_path, ledger_kind) as scene:
        yield scene


@contextmanager
def scene_of(tmp_path: Path, ledger_kind: LedgerKind) -> Generator[Scene]:
    """A cloud that does what it is asked and does not answer."""
    done.clear()
    database = tmp_path / "cloud" / "cloud.db"
    with Upstream(database).serve() as upstream:
        app = create_app(database=database, api_key=KEY, now=upstream.now)
        upstream.replacement = applied_and_not_answered(app)
        upstream.replaced_methods = ("POST", "DELETE")
        yield Scene(upstream, tmp_path / "data", ledger_kind)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("cloud", ["did it", "did not"])
def test_what_was_sent_and_not_seen_to_end_is_settled_at_the_next_start(
    scene: Scene, tool: str, cloud: str
) -> None:
    happened = cloud == "did it"
    if not happened:
        scene.upstream.replacement = never_respond
    scene.kill_in_the_midst(tool)
    with ready_server(scene.folder, **scene.settings) as server:
        list_ready_snapshots(server)
    last = scene.rows(tool)[-1]
    assert last.event == ("done" if happened else "failed")
    assert last.reason.startswith("settled after a crash")
    assert len(scene.upstream.writes) == 1
    assert anyio.run(scene.ledger_kind.open(scene.folder).verify) == []
    assert scene.ledger_kind.owners(scene.folder) == []


def test_of_two_that_start_at_once_and_see_the_same_one_alone_records_how_it_ended(
    scene: Scene,
) -> None:
    scene.kill_in_the_midst("delete_snapshot")
    (sent,) = (row for row in scene.rows("delete_snapshot") if row.event == "sent")
    # Both know that it is open and have seen what came of it before either may record it.
    scene.upstream.barrier = RequestBarrier(f"/v1/core/snapshots/{sent.target}", guests=2)
    with (
        ready_server(scene.folder, **scene.settings) as one,
        ready_server(scene.folder, **scene.settings) as other,
    ):
        calls = [(server, server.start_call("list_snapshots", limit=1)) for server in (one, other)]
        assert all("result" in server.wait_for_response(call) for server, call in calls)
        assert scene.upstream.barrier.waiting >= 2
    events = [row.event for row in scene.rows("delete_snapshot")]
    assert events == ["planned", "sent", "done"]
    assert anyio.run(scene.ledger_kind.open(scene.folder).verify) == []


def test_a_write_under_way_is_settled_when_its_process_is_gone_and_not_when_its_session_is_cut(
    tmp_path: Path, postgres: Server
) -> None:
    with (
        ExitStack() as stack,
        scene_of(tmp_path, ledger_kind := DatabaseLedgers(postgres, stack)) as scene,
    ):
        with stdio_server(scene.folder, **scene.settings, SNAPSHOT_MCP_TIMEOUT="300") as server:
            server.initialize()
            scene.write_without_end(server, "delete_snapshot")
            assert postgres.drop_connections(ledger_kind.name(scene.folder)) >= 1
            scene.upstream.replacement = None
            with ready_server(scene.folder, **scene.settings) as other:
                list_ready_snapshots(other)
            assert [row.event for row in scene.rows("delete_snapshot")] == ["planned", "sent"]
            server.kill()
        with ready_server(scene.folder, **scene.settings) as other:
            list_ready_snapshots(other)
        events = [row.event for row in scene.rows("delete_snapshot")]
        assert events == ["planned", "sent", "done"]


def test_the_ledger_is_shown_and_verified_where_there_is_none(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path / "nothing")
    shown = command("ledger", env=env)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
    verified = command("ledger", "verify", env=env)
    assert (verified.returncode, verified.stdout) == (0, "The ledger is intact.\n")


def test_the_ledger_is_shown_on_a_console_that_is_not_utf_8(tmp_path: Path) -> None:
    row = Attempt(
        "a1", "delete_snapshot", 1, {"note": "\u6771\u4eac"}, "me", "arguments", "caf\u00e9"
    )
    anyio.run(open_sqlite_ledger(tmp_path / "ledger.db", utc_now).record, "planned", row, "")
    env = environment(tmp_path, PYTHONIOENCODING="ascii")
    shown = run_command("ledger", env=env)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "caf\\xe9" in shown.stdout
    assert "\\u6771\\u4eac" in shown.stdout


def test_an_altered_ledger_is_told_with_exit_code_1(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path)
    with ready_server(tmp_path) as server:
        snapshot = list_ready_snapshots(server)[0]
        server.call_tool_error("delete_snapshot", snapshot_id=snapshot["id"], confirm="yes")
        commit_arguments(server, "delete_snapshot", {"snapshot_id": snapshot["id"]})
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
