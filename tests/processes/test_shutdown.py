"""Shutdown: after SIGTERM, calls in flight finish and the server ends within ten seconds."""

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
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM"),
]
GRAFANA = 793702
MODERN = ERAS[1]
WITHIN_SECONDS = SHUTDOWN_TIMEOUT_SECONDS + 6
"""The limit that the server keeps, and some time for a busy machine."""


def find_notebook_vm(server: StdioServer) -> int:
    vms = server.call_tool("list_virtual_machines", search="notebook")["virtual_machines"]
    return vms[0]["id"]


def ledger_rows(folder: Path) -> list[Row]:
    """Return the rows of the ledger in a folder."""
    return anyio.run(open_sqlite_ledger(folder / LEDGER_FILE, utc_now).rows)


def terminate(server: StdioServer) -> float:
    """Send SIGTERM and return the seconds until the end of the process."""
    start = monotonic()
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.process.poll() is not None, "the end", WITHIN_SECONDS)
    return monotonic() - start


def test_a_call_that_finishes_in_time_is_answered_before_the_end(tmp_path: Path) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        arguments = {"vm_id": find_notebook_vm(server), "name": "last-order", "wait_seconds": 1}
        call = server.send_request(
            "tools/call", name="create_snapshot", arguments=arguments, _meta={"progressToken": 1}
        )
        server.wait_for_message(lambda message: message.get("method") == "notifications/progress")
        terminate(server)
        result = structured_content(server.wait_for_response(call))
        assert result["snapshot"]["name"] == "last-order"
        assert server.process.returncode == -signal.SIGTERM
    assert [row.event for row in ledger_rows(tmp_path)] == ["sent", "done"]


def test_a_subscription_does_not_delay_the_end(tmp_path: Path) -> None:
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
        server.wait_for_message(lambda message: "acknowledged" in message.get("method", ""))
        assert terminate(server) < DRAIN_TIMEOUT_SECONDS
        assert server.process.returncode == -signal.SIGTERM


def test_a_hanging_write_and_a_long_wait_do_not_delay_the_end(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "cloud.db")
    with upstream.serve(), stdio_server(tmp_path / "data", **upstream.settings) as server:
        server.initialize()
        vm_id = find_notebook_vm(server)
        upstream.frozen_time = datetime.now(UTC)
        call = server.send_request(
            "tools/call",
            name="create_snapshot",
            arguments={"vm_id": vm_id, "name": "long-wait", "wait_seconds": 300},
            _meta={"progressToken": 1},
        )
        server.wait_for_message(lambda message: message.get("method") == "notifications/progress")
        upstream.replacement, upstream.replaced_methods = never_respond, ("POST",)
        server.start_call("create_snapshot", vm_id=GRAFANA, name="hangs", allow_interruption=True)
        until(lambda: len(upstream.writes) == 2, "the second write")
        assert terminate(server) <= WITHIN_SECONDS
        assert "error" in server.wait_for_response(call)
    rows = ledger_rows(tmp_path / "data")
    assert [row.event for row in rows if "long-wait" in str(row)] == ["sent", "done"]
    assert [row.event for row in rows if "hangs" in str(row)] == ["sent"]


async def test_a_server_over_http_ends_in_time_with_a_call_in_flight(tmp_path: Path) -> None:
    arguments = {
        "vm_id": GRAFANA,
        "name": "long-wait",
        "allow_interruption": True,
        "wait_seconds": 300,
    }
    waiting, ended = anyio.Event(), anyio.Event()

    async def record_progress(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        waiting.set()

    async def call(url: str) -> None:
        async with Client(url, mode="2026-07-28") as client:
            with pytest.raises((MCPError, httpx.HTTPError)):
                await client.call_tool(
                    "create_snapshot", arguments, progress_callback=record_progress
                )
            ended.set()

    with http_server(tmp_path, free_port()) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(call, f"{server.url}/mcp")
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                await waiting.wait()
            start = monotonic()
            server.process.send_signal(signal.SIGTERM)
            await to_thread.run_sync(server.process.wait, WITHIN_SECONDS)
            assert monotonic() - start <= WITHIN_SECONDS
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                await ended.wait()
    rows = await to_thread.run_sync(ledger_rows, tmp_path)
    assert [row.event for row in rows] == ["sent", "done"]
