"""Shutdown: let calls in flight finish, then end the process within ten seconds.

A write that is cut off is in the ledger as sent. The next start settles it.
"""

import os
import signal
import sys
from collections.abc import Callable
from threading import Timer
from typing import Any

import anyio
from anyio.abc import TaskStatus
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext

DRAIN_TIMEOUT_SECONDS = 5
"""Seconds that calls in flight may continue after SIGTERM before they are cancelled."""

SHUTDOWN_TIMEOUT_SECONDS = 9.0
"""Seconds after SIGTERM until the process is forced to exit."""

_FLUSH_DELAY_SECONDS = 0.2


class InFlightCalls(ServerMiddleware[Any]):
    """Middleware that counts requests in flight.

    Subscriptions are not counted, because they have no response to wait for.
    """

    def __init__(self) -> None:
        self._count = 0
        self._idle = anyio.Event()

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Handle one request and count it while it is in flight."""
        if ctx.method == "subscriptions/listen":
            return await call_next(ctx)
        if not self._count:
            self._idle = anyio.Event()
        self._count += 1
        try:
            return await call_next(ctx)
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Wait until every request has been handled and its response written."""
        while self._count:
            await self._idle.wait()
        # The SDK writes a response after the middleware has returned, without any signal.
        await anyio.sleep(_FLUSH_DELAY_SECONDS)


async def shut_down_on_sigterm(
    scope: anyio.CancelScope,
    calls: InFlightCalls,
    flush_telemetry: Callable[[], None],
    *,
    task_status: TaskStatus[None],
) -> None:
    """Wait for SIGTERM, drain the calls in flight, and end the process.

    On Windows, which delivers no SIGTERM, this returns immediately.

    Args:
        scope: the cancel scope of the server, cancelled after `DRAIN_TIMEOUT_SECONDS`.
        calls: the requests in flight.
        flush_telemetry: sends the spans and metrics that have not been sent.
        task_status: reports that the signal handler is installed.
    """
    if sys.platform == "win32":
        task_status.started()
        return
    default_handler = signal.getsignal(signal.SIGTERM)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            break
    signal.signal(signal.SIGTERM, default_handler)
    force_exit_after_timeout()
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(DRAIN_TIMEOUT_SECONDS):
            await calls.wait_until_idle()
        scope.cancel()
        await calls.wait_until_idle()
    flush_telemetry()
    # The thread that reads stdin never returns, so only the signal itself can end this process.
    signal.raise_signal(signal.SIGTERM)


def force_exit_after_timeout() -> None:
    """Exit after `SHUTDOWN_TIMEOUT_SECONDS`, from a thread that nothing can block."""
    timer = Timer(SHUTDOWN_TIMEOUT_SECONDS, os._exit, args=[1])
    timer.daemon = True
    timer.start()
