"""The stdio transport: one client on stdin and stdout."""

from collections.abc import Callable

import anyio
from mcp.server.stdio import stdio_server

from snapshot_mcp.mcp_server.app import McpServer
from snapshot_mcp.transports.shutdown import InFlightCalls, shut_down_on_sigterm


def run_stdio(server: McpServer, flush_telemetry: Callable[[], None]) -> None:
    """Serve on stdin and stdout until stdin is closed or SIGTERM arrives.

    Args:
        server: the MCP server.
        flush_telemetry: sends the spans and metrics that have not been sent.
    """
    calls = InFlightCalls()
    server.middleware.append(calls)
    anyio.run(_run, server, calls, flush_telemetry)


async def _run(
    server: McpServer,
    calls: InFlightCalls,
    flush_telemetry: Callable[[], None],
) -> None:
    async with anyio.create_task_group() as group:
        await group.start(shut_down_on_sigterm, group.cancel_scope, calls, flush_telemetry)
        async with stdio_server() as (read_stream, write_stream):
            await server.run(read_stream, write_stream, server.create_initialization_options())
        group.cancel_scope.cancel()
