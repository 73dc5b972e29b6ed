"""Recovery: a write that was sent before a crash is settled at the next start."""

import json
import sqlite3
import threading
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
from tests.unit.ledger.ledger_kinds import DatabaseLedgers, LedgerKind
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS

pytestmark = pytest.mark.slow

TOOLS = ("create_snapshot", "restore_snapshot", "delete_snapshot")


def perform_without_responding(app: ASGIApp) -> ASGIApp:
    """Return an application that performs every request but never responds."""

    async def perform_without_response(scope: Scope, receive: Receive, send: Send) -> None:
        async def discard(_: Message) -> None:
            return

        await app(scope, receive, discard)
        performed_paths.append(scope["path"])
        await never_respond(scope, receive, send)

    return perform_without_response


performed_paths: list[str] = []


def write_arguments(server: StdioServer, tool: str) -> dict[str, object]:
    """Return arguments with which the tool writes."""
    if tool == "create_snapshot":
        return {"vm_id": 793702, "name": "before-the-crash", "allow_interruption": True}
    snapshot = list_ready_snapshots(server)[0]
    return commit_arguments(server, tool, target_arguments(tool, snapshot["id"], "back-again"))


class CrashSetup(NamedTuple):
    """A cloud and a ledger, for the servers of one test."""

    upstream: Upstream
    folder: Path
    ledger_kind: LedgerKind

    @property
    def settings(self) -> dict[str, str]:
        return self.upstream.settings | self.ledger_kind.settings(self.folder)

    def rows(self, tool: str) -> list[Row]:
        """Return the ledger's rows of a tool."""
        return anyio.run(partial(self.ledger_kind.open(self.folder).rows, tool=tool))

    def kill_during_write(self, tool: str) -> None:
        """Start a server, and kill it between a write and its end."""
        with stdio_server(self.folder, **self.settings) as server:
            server.initialize()
            self.start_write(server, tool)
            server.kill()
        assert self.rows(tool)[-1].event == "sent"
        self.upstream.replacement = None

    def start_write(self, server: StdioServer, tool: str) -> int:
        """Make the server send a write that gets no response, and return the id of the call."""
        arguments = write_arguments(server, tool)
        self.upstream.requests.clear()
        call = server.start_call(tool, **arguments)
        until(lambda: bool(self.upstream.writes), "the write")
        if self.upstream.replacement is not never_respond:
            until(lambda: bool(performed_paths), "the effect of the write")
        return call


@pytest.fixture
def crash_setup(tmp_path: Path, ledger_kind: LedgerKind) -> Generator[CrashSetup]:
    with start_crash_setup(tmp_path, ledger_kind) as crash_setup:
        yield crash_setup


@contextmanager
def start_crash_setup(tmp_path: Path, ledger_kind: LedgerKind) -> Generator[CrashSetup]:
    """Start a cloud that performs writes but does not respond to them."""
    performed_paths.clear()
    database = tmp_path / "cloud" / "cloud.db"
    with Upstream(database).serve() as upstream:
        app = create_app(database=database, api_key=KEY, now=upstream.now)
        upstream.replacement = perform_without_responding(app)
        upstream.replaced_methods = ("POST", "DELETE")
        yield CrashSetup(upstream, tmp_path / "data", ledger_kind)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("cloud", ["performed", "ignored"])
def test_an_open_write_is_settled_at_the_next_start(
    crash_setup: CrashSetup, tool: str, cloud: str
) -> None:
    performed = cloud == "performed"
    if not performed:
        crash_setup.upstream.replacement = never_respond
    crash_setup.kill_during_write(tool)
    with ready_server(crash_setup.folder, **crash_setup.settings) as server:
        list_ready_snapshots(server)
    last = crash_setup.rows(tool)[-1]
    assert (last.event, last.reason) == (
        ("done", "settled after a crash: the cloud shows it") if performed else ("sent", "")
    )
    assert len(crash_setup.upstream.writes) == 1
    assert anyio.run(crash_setup.ledger_kind.open(crash_setup.folder).verify) == []
    if performed:
        assert crash_setup.ledger_kind.owners(crash_setup.folder) == []


class SlowCloud:
    """The cloud behind a gateway that passes writes on later, whether or not the caller waits."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.received = threading.Event()
        self.release = threading.Event()
        self.performed = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del send
        body = await receive()
        assert body["type"] == "http.request"
        while body["more_body"]:
            more = await receive()
            body = {**more, "body": body["body"] + more["body"]}
        self.received.set()
        threading.Thread(target=self._perform_later, args=(scope, body), daemon=True).start()
        await never_respond(scope, receive, _discard)

    def _perform_later(self, scope: Scope, body: Message) -> None:
        async def receive_again() -> Message:
            return body

        self.release.wait(START_TIMEOUT_SECONDS)
        anyio.run(self._app, scope, receive_again, _discard)
        self.performed.set()


async def _discard(_: Message) -> None:
    return


@pytest.mark.parametrize("tool", TOOLS)
def test_a_write_that_takes_effect_after_the_restart_is_recorded_as_done(
    crash_setup: CrashSetup, tool: str
) -> None:
    database = crash_setup.folder.parent / "cloud" / "cloud.db"
    app = create_app(database=database, api_key=KEY, now=crash_setup.upstream.now)
    slow = SlowCloud(app)
    crash_setup.upstream.replacement = slow
    with stdio_server(crash_setup.folder, **crash_setup.settings) as server:
        server.initialize()
        server.start_call(tool, **write_arguments(server, tool))
        assert slow.received.wait(START_TIMEOUT_SECONDS)
        server.kill()
    crash_setup.upstream.replacement = None
    with ready_server(crash_setup.folder, **crash_setup.settings) as server:
        list_ready_snapshots(server)
        assert crash_setup.rows(tool)[-1].event == "sent"
        slow.release.set()
        assert slow.performed.wait(ANSWER_TIMEOUT_SECONDS)

        def is_settled() -> bool:
            list_ready_snapshots(server)
            return crash_setup.rows(tool)[-1].event != "sent"

        until(is_settled, "the outcome")
    last = crash_setup.rows(tool)[-1]
    assert (last.event, last.reason) == ("done", "settled after a crash: the cloud shows it")
    assert len(crash_setup.upstream.writes) == 1


def test_only_one_of_two_concurrent_starts_records_the_result_of_an_open_write(
    crash_setup: CrashSetup,
) -> None:
    crash_setup.kill_during_write("delete_snapshot")
    (sent,) = (row for row in crash_setup.rows("delete_snapshot") if row.event == "sent")
    # Both have found the open attempt and read its effect before either records the result.
    crash_setup.upstream.barrier = RequestBarrier(f"/v1/core/snapshots/{sent.target}", parties=2)
    with (
        ready_server(crash_setup.folder, **crash_setup.settings) as one,
        ready_server(crash_setup.folder, **crash_setup.settings) as other,
    ):
        calls = [(server, server.start_call("list_snapshots", limit=1)) for server in (one, other)]
        assert all("result" in server.wait_for_response(call) for server, call in calls)
        assert crash_setup.upstream.barrier.waiting >= 2
    events = [row.event for row in crash_setup.rows("delete_snapshot")]
    assert events == ["planned", "sent", "done"]
    assert anyio.run(crash_setup.ledger_kind.open(crash_setup.folder).verify) == []


def test_a_write_in_flight_is_settled_after_its_process_ends_not_after_a_lost_session(
    tmp_path: Path, postgres: Server
) -> None:
    with (
        ExitStack() as stack,
        start_crash_setup(tmp_path, ledger_kind := DatabaseLedgers(postgres, stack)) as crash_setup,
    ):
        with stdio_server(
            crash_setup.folder, **crash_setup.settings, SNAPSHOT_MCP_TIMEOUT="300"
        ) as server:
            server.initialize()
            crash_setup.start_write(server, "delete_snapshot")
            assert postgres.drop_connections(ledger_kind.name(crash_setup.folder)) >= 1
            crash_setup.upstream.replacement = None
            with ready_server(crash_setup.folder, **crash_setup.settings) as other:
                list_ready_snapshots(other)
            assert [row.event for row in crash_setup.rows("delete_snapshot")] == ["planned", "sent"]
            server.kill()
        with ready_server(crash_setup.folder, **crash_setup.settings) as other:
            list_ready_snapshots(other)
        events = [row.event for row in crash_setup.rows("delete_snapshot")]
        assert events == ["planned", "sent", "done"]


def test_a_ledger_that_does_not_exist_yet_is_shown_as_empty(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path / "nothing")
    shown = command("ledger", env=env)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
    verified = command("ledger", "verify", env=env)
    assert (verified.returncode, verified.stdout) == (
        0,
        "There is no ledger yet: the first change creates it.\n",
    )


def test_the_ledger_is_shown_on_a_console_without_utf_8(tmp_path: Path) -> None:
    row = Attempt(
        "a1", "delete_snapshot", 1, {"note": "\u6771\u4eac"}, "me", "arguments", "caf\u00e9"
    )
    anyio.run(open_sqlite_ledger(tmp_path / "ledger.db", utc_now).record, "planned", row, "")
    env = environment(tmp_path, PYTHONIOENCODING="ascii")
    shown = run_command("ledger", env=env)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "caf\\xe9" in shown.stdout
    assert "\\u6771\\u4eac" in shown.stdout


def test_an_altered_ledger_is_reported_with_exit_code_1(command: Command, tmp_path: Path) -> None:
    env = environment(tmp_path)
    with ready_server(tmp_path) as server:
        snapshot = list_ready_snapshots(server)[0]
        server.call_tool_error("delete_snapshot", snapshot_id=snapshot["id"], confirm="yes")
        commit_arguments(server, "delete_snapshot", {"snapshot_id": snapshot["id"]})
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("DROP TRIGGER attempts_are_not_updated")
        connection.execute("UPDATE attempts SET reason = 'nothing happened' WHERE id = 1")
    verified = command("ledger", "verify", env=env)
    assert verified.returncode == 1
    assert "1" in verified.stdout
    text = command("ledger", "--event", "planned", env=env).stdout
    assert text.count("\n") == 1
    assert "delete_snapshot" in text
    lines = command("ledger", "--json", "--tool", "delete_snapshot", env=env).stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["refused", "planned"]
    assert command("ledger", "--json", "--tool", "restore_snapshot", env=env).stdout == ""
