"""A server that is told to end lets calls come to their end, and is gone within ten seconds."""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import anyio
import httpx
import pytest
from anyio import to_thread
from mcp import Client, MCPError
from mcp_types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY

from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.transports.shutdown import DRAIN_TIMEOUT_SECONDS, SHUTDOWN_TIMEOUT_SECONDS
from tests.conftest import ERAS
from tests.processes.helpers import (
    StdioServer,
    Upstream,
    free_port,
    never_respond,
    stdio_server,
    structured_content,
    until,
)
from tests.processes.http_server import http_server
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGTERM"),
]
GRAFANA = 793702
MODERN = ERAS[1]
WITHIN_SECONDS = SHUTDOWN_TIMEOUT_SECONDS + 6
"""The limit that the server keeps, and some time for a busy machine."""


def notebook(server: StdioServer) -> int:
    return server.call_tool("list_virtual_machines", search="notebook")["virtual_machines"][0]["id"]


def rows_in(folder: Path) -> list[Row]:
    """The ledger that a server left behind."""
    return anyio.run(open_sqlite_ledger(folder / LEDGER_FILE, utc_now).rows)


def end(server: StdioServer) -> float:
    """Tell it to end; the seconds that it took."""
    begun = monotonic()
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.process.poll() is not None, "the end", WITHIN_SECONDS)
    return monotonic() - begun


def test_a_call_that_comes_to_its_end_is_answered_first(tmp_path: Path) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        order = {"vm_id": notebook(server), "name": "last-order", "wait_seconds": 1}
        call = server.send_request(
            "tools/call", name="create_snapshot", arguments=order, _meta={"progressToken": 1}
        )
        server.wait_for_message(lambda message: message.get("method") == "notifications/progress")
        end(server)
        answer = structured_content(server.wait_for_response(call))
        assert answer["snapshot"]["name"] == "last-order"
        assert server.process.returncode == -signal.SIGTERM
    assert [row.event for row in rows_in(tmp_path)] == ["sent", "done"]


def test_who_only_listens_holds_nothing_up(tmp_path: Path) -> None:
    envelope: dict[str, object] = {
        PROTOCOL_VERSION_META_KEY: MODERN,
        CLIENT_CAPABILITIES_META_KEY: {},
    }
    with stdio_server(tmp_path) as server:
        server.send_request(
            "subscriptions/listen",
            notifications={"resourceSubscriptions": ["snapshot://1701"]},
            _meta=envelope,
        )
        server.wait_for_message(lambda it: "acknowledged" in it.get("method", ""))
        assert end(server) < DRAIN_TIMEOUT_SECONDS
        assert server.process.returncode == -signal.SIGTERM


def test_a_write_that_hangs_and_a_wait_that_is_long_hold_nothing_up(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "cloud.db")
    with upstream.serve(), stdio_server(tmp_path / "data", **upstream.settings) as server:
        server.initialize()
        vm_id = notebook(server)
        upstream.frozen_time = datetime.now(UTC)
        call = server.send_request(
            "tools/call",
            name="create_snapshot",
            arguments={"vm_id": vm_id, "name": "long-wait", "wait_seconds": 600},
            _meta={"progressToken": 1},
        )
        server.wait_for_message(lambda message: message.get("method") == "notifications/progress")
        upstream.replacement, upstream.replaced_methods = never_respond, ("POST",)
        server.start_call("create_snapshot", vm_id=GRAFANA, name="hangs", allow_interruption=True)
        until(lambda: len(upstream.writes) == 2, "the second write")
        assert end(server) <= WITHIN_SECONDS
        assert not any(message.get("id") == call for message in server.messages)
    rows = rows_in(tmp_path / "data")
    assert [row.event for row in rows if "long-wait" in str(row)] == ["sent", "done"]
    assert [row.event for row in rows if "hangs" in str(row)] == ["sent"]


async def test_a_server_over_http_is_gone_in_time_with_a_call_under_way(tmp_path: Path) -> None:
    order = {"vm_id": GRAFANA, "name": "long-wait", "allow_interruption": True, "wait_seconds": 600}
    waiting, ended = anyio.Event(), anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        waiting.set()

    async def call(url: str) -> None:
        async with Client(url, mode="2026-07-28") as client:
            with pytest.raises((MCPError, httpx.HTTPError)):
                await client.call_tool("create_snapshot", order, progress_callback=hear)
            ended.set()

    with http_server(tmp_path, free_port()) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(call, f"{server.url}/mcp")
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                await waiting.wait()
            begun = monotonic()
            server.process.send_signal(signal.SIGTERM)
            await to_thread.run_sync(server.process.wait, WITHIN_SECONDS)
            assert monotonic() - begun <= WITHIN_SECONDS
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                await ended.wait()
    rows = await to_thread.run_sync(rows_in, tmp_path)
    assert [row.event for row in rows] == ["sent", "done"]
