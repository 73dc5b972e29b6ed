"""Clients that disconnect during a call leave no connections or queue places behind."""

from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from mcp import Client

from tests.conftest import ERAS, call_tool
from tests.processes.helpers import Upstream, free_port, never_respond, until
from tests.processes.http_server import HttpServer, http_server
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.slow

CLIENTS = 12


def open_files(server: HttpServer) -> int | None:
    """Return the number of open file descriptors; None if the system does not expose it."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    return len(list(folder.iterdir())) if folder.exists() else None


@pytest.mark.parametrize(("mode", "seconds"), [(ERAS[0], "1"), (ERAS[1], "60")])
async def test_clients_that_disconnect_leave_no_connection_and_no_queue_place_behind(
    tmp_path: Path, mode: str, seconds: str
) -> None:
    # In the legacy era a lost connection does not cancel the call, which ends at its timeout.
    upstream = Upstream(tmp_path / "cloud.db")
    settings = upstream.settings | {"SNAPSHOT_MCP_TIMEOUT": seconds}
    with upstream.serve(), http_server(tmp_path / "data", free_port(), **settings) as server:

        async def call_and_disconnect() -> None:
            with suppress(Exception):
                async with Client(f"{server.url}/mcp", mode=mode) as client:
                    await client.call_tool("list_snapshots", {})

        async with Client(f"{server.url}/mcp", mode=mode) as client:
            total = (await call_tool(client, "list_snapshots"))["total"]
        before = open_files(server)
        earlier = len(upstream.requests)
        upstream.replacement = never_respond
        async with anyio.create_task_group() as group:
            for _ in range(CLIENTS):
                group.start_soon(call_and_disconnect)
            # Eight calls read concurrently, and the others wait in the queue.
            await anyio.to_thread.run_sync(
                lambda: until(lambda: len(upstream.requests) >= earlier + 8, "the calls")
            )
            group.cancel_scope.cancel()
        if before is not None:
            # The cloud still answers nothing: a call that got an answer would leave its connection
            # in the pool.
            few = before + 2
            await anyio.to_thread.run_sync(
                lambda: until(lambda: (open_files(server) or 0) <= few, "the end of connections")
            )
        upstream.replacement = None
        assert server.is_up()
        if mode == ERAS[1]:  # in the legacy era, the circuit breaker is open for a while
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                async with Client(f"{server.url}/mcp", mode=mode) as client:
                    assert (await call_tool(client, "list_snapshots"))["total"] == total
