"""The stdio transport: one client on stdin and stdout."""

from collections.abc import Callable

import anyio
from mcp.server.mcpserver import MCPServer

from snapshot_mcp.operations import OperationsFactory
from snapshot_mcp.transports.shutdown import InFlightCalls, shut_down_on_sigterm


def run_stdio(server: MCPServer[OperationsFactory], flush_telemetry: Callable[[], None]) -> None:
    """Serve on stdin and stdout until stdin is closed or SIGTERM arrives.

    Args:
        server: the MCP server.
        flush_telemetry: sends the spans and metrics that have not been sent.
    """
    calls = InFlightCalls()
    server.middleware.append(calls)
    anyio.run(_run, server, calls, flush_telemetry)


async def _run(
    server: MCPServer[OperationsFactory],
    calls: InFlightCalls,
    flush_telemetry: Callable[[], None],
) -> None:
    async with anyio.create_task_group() as group:
        await group.start(shut_down_on_sigterm, group.cancel_scope, calls, flush_telemetry)
        await server.run_stdio_async()
        group.cancel_scope.cancel()
