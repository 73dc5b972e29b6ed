"""The stdio transport: one client on stdin and stdout."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import NamedTuple

import anyio
from anyio.abc import TaskStatus

from snapshot_mcp.mcp_server.app import McpServer
from snapshot_mcp.transports.shutdown import (
    end_by_signal,
    force_exit_after_timeout,
    signal_exit_code,
    stop_signals,
)
from snapshot_mcp.transports.stdio_transport import StdioTransport


def run_stdio(server: McpServer, flush_telemetry: Callable[[], None]) -> bool:
    """Serve on stdin and stdout until one of them is closed or a signal arrives.

    Calls in flight may finish first. A signal then ends the process.

    Args:
        server: the MCP server.
        flush_telemetry: sends the spans and metrics that have not been sent.

    Returns:
        Whether stdin ended; False if the client closed stdout before.
    """
    end = anyio.run(_serve, server, *_claim_streams())
    flush_telemetry()
    if end.signal is not None:
        end_by_signal(end.signal)
    return not end.output_closed


class _End(NamedTuple):
    """The reason why serving ended: a signal, closed output, or neither."""

    signal: int | None
    output_closed: bool


def _claim_streams() -> tuple[FileIO, FileIO]:
    """Return stdin and stdout; what else reads or prints gets the null device and stderr."""
    stdin, stdout = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    if sys.platform != "win32":
        # The other end may be shared with a process that does not block.
        os.set_blocking(stdin, True)
        os.set_blocking(stdout, True)
    # The thread that reads may use the file as long as the process lives.
    return FileIO(stdin, "rb", closefd=False), FileIO(stdout, "wb", closefd=False)


async def _serve(server: McpServer, stdin: FileIO, stdout: FileIO) -> _End:
    transport = StdioTransport(stdin, stdout, partial(force_exit_after_timeout, 1))
    received: list[int] = []
    async with anyio.create_task_group() as group:
        await group.start(_stop_on_signal, transport, received)
        await transport.serve(server)
        group.cancel_scope.cancel()
    return _End(received[0] if received else None, transport.output_closed)


async def _stop_on_signal(
    transport: StdioTransport, received: list[int], *, task_status: TaskStatus[None]
) -> None:
    """Wait for a signal and stop the transport; another signal then ends the process immediately.

    Args:
        transport: the transport.
        received: receives the number of the signal.
        task_status: reports that the signals are handled.
    """
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    if not handlers:
        task_status.started()
        return
    try:
        with anyio.open_signal_receiver(*handlers) as signals:
            task_status.started()
            async for number in signals:
                received.append(number)
                break
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    force_exit_after_timeout(signal_exit_code(received[0]))
    transport.stop()
