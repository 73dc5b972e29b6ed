"""Serving over stdio or HTTP, and ending in good order.

A process that is told to end (SIGTERM) lets the calls that are going on come to their end, cancels
what takes too long, and is gone within ten seconds. A write that was cut off stands in the ledger
as sent, and the next start settles it.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.stdio import stdio_server

from snapshot_mcp import __version__
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sockets import bind_socket
from snapshot_mcp.mcp_server.app import McpServer, create_server
from snapshot_mcp.settings.environment import Settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    from snapshot_mcp.transports.http.settings import HttpSettings

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
"""At these, only users of this machine are served without being asked who they are."""

HEALTH_PATH = "/health"

DRAIN_TIMEOUT_SECONDS = 5
"""So long calls may go on after SIGTERM; then they are cancelled."""

SHUTDOWN_TIMEOUT_SECONDS = 9.0
"""So long after SIGTERM the process ends, whatever still goes on."""

_FLUSH_DELAY_SECONDS = 0.2


class InFlightCalls(ServerMiddleware[Any]):
    """Counts the requests that are being answered; who only listens waits for no answer."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = anyio.Event()

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Answer one request."""
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
        """Wait until every request is answered and the answers are written."""
        while self._count:
            await self._idle.wait()
        # The SDK writes an answer after the middleware is done with it, and tells nobody.
        await anyio.sleep(_FLUSH_DELAY_SECONDS)


def _collect_garbage_from_now_on() -> None:
    gc.freeze()
    gc.enable()


def serve_stdio(settings: Settings) -> None:
    """Serve over stdin and stdout until stdin is closed or the process is told to end."""
    # The thread that reads stdin cannot be interrupted, so Ctrl-C must end the process itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server = create_server(settings)
    calls = InFlightCalls()
    server.middleware.append(calls)
    _collect_garbage_from_now_on()
    with ExitStack() as observing:
        observing.enter_context(_observed(settings))
        anyio.run(_serve_stdio, server, calls, observing.close)


async def _serve_stdio(
    server: McpServer,
    calls: InFlightCalls,
    send_what_is_left: Callable[[], None],
) -> None:
    async with anyio.create_task_group() as group:
        if sys.platform != "win32":
            await group.start(_end_on_sigterm, group.cancel_scope, calls, send_what_is_left)
        async with stdio_server() as (read_stream, write_stream):
            await server.run(read_stream, write_stream, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _end_on_sigterm(
    scope: anyio.CancelScope,
    calls: InFlightCalls,
    send_what_is_left: Callable[[], None],
    *,
    task_status: TaskStatus[None],
) -> None:
    told_by_default = signal.getsignal(signal.SIGTERM)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            break
    signal.signal(signal.SIGTERM, told_by_default)
    force_exit_after_timeout()
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(DRAIN_TIMEOUT_SECONDS):
            await calls.wait_until_idle()
        scope.cancel()
        await calls.wait_until_idle()
    send_what_is_left()
    # The thread that reads stdin never returns, so nothing but the signal itself ends this process.
    signal.raise_signal(signal.SIGTERM)


def force_exit_after_timeout() -> None:
    """End the process after the longest time that it has, from a thread that nothing holds up."""
    timer = Timer(SHUTDOWN_TIMEOUT_SECONDS, os._exit, args=[1])
    timer.daemon = True
    timer.start()


def serve_http(settings: Settings, service: "HttpSettings", *, host: str, port: int) -> None:
    """Serve Streamable HTTP at /mcp and /health until the process is ended.

    Args:
        settings: of the server.
        service: who may call it.
        host: the address to listen at.
        port: the port to listen at.

    Raises:
        ConfigError: others could reach the address and would not be asked who they are, nobody
            said by which name they do, or the port cannot be had.
    """
    import uvicorn  # noqa: PLC0415 - only this transport needs it
    from starlette.routing import Route  # noqa: PLC0415 - likewise

    from snapshot_mcp.transports.http.app import create_http_app  # noqa: PLC0415 - likewise

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            force_exit_after_timeout()
            super().handle_exit(sig, frame)

    check_exposure(host, service)
    listener = _listen(host, port)
    circuit = CircuitBreaker()
    server = create_server(settings, circuit=circuit)
    routes = [Route(HEALTH_PATH, _health(settings, circuit), methods=["GET"])]
    if settings.metrics:
        routes.append(Route("/metrics", _metrics(), methods=["GET"]))
    # Replicas serve each request of the legacy era by itself: its sessions live in one process.
    alone = settings.database_url is None
    app = create_http_app(server, service, routes=routes, open_paths=[HEALTH_PATH], sessions=alone)
    _collect_garbage_from_now_on()
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=DRAIN_TIMEOUT_SECONDS)
    with _observed(settings, shows=settings.metrics):
        Server(config).run(sockets=[listener])


def _observed(settings: Settings, *, shows: bool = False) -> AbstractContextManager[None]:
    """Spans and metrics, where somebody wants them."""
    if not settings.exports and not shows:
        return nullcontext()
    from snapshot_mcp.mcp_server.prompt_files import load_prompts  # noqa: PLC0415 - only if it is asked for
    from snapshot_mcp.mcp_server.tools.toolsets import TOOLS  # noqa: PLC0415 - as above
    from snapshot_mcp.telemetry.setup import observe_process  # noqa: PLC0415 - as above

    tools = {tool.name for tool in TOOLS}
    names = tools | {prompt.name for prompt in load_prompts()}
    return observe_process(os.environ, names, exports=settings.exports, shows=shows)


def _metrics():  # noqa: ANN202 - a Starlette endpoint, whose types are imported late
    from starlette.responses import Response  # noqa: PLC0415 - only this transport needs it

    from snapshot_mcp.telemetry.setup import render_metrics  # noqa: PLC0415 - only if it is asked for

    async def metrics(_: "Request") -> "Response":
        """Tell the metrics as they are now."""
        text, kind = render_metrics()
        return Response(text, media_type=kind)

    return metrics


def check_exposure(host: str, service: "HttpSettings") -> None:
    """Let only a service that knows its callers, and its own name, be reached by others.

    Args:
        host: the address that it listens at.
        service: who may call it.

    Raises:
        ConfigError: it asks nobody who they are, or has no name.
    """
    if host in LOOPBACK_HOSTS:
        return
    if not service.authenticated:
        raise ConfigurationError(
            "--host must be one of this machine's own names, because this server does not ask who"
            " calls it.",
            f"Use one of: {', '.join(LOOPBACK_HOSTS)}. Or let it ask, with SNAPSHOT_MCP_AUTH_ISSUER"
            " or SNAPSHOT_MCP_BEARER_TOKEN.",
        )
    if not service.names:
        raise ConfigurationError(
            "--host lets others reach this server, and nobody said by which name they do.",
            "Set SNAPSHOT_MCP_ALLOWED_HOSTS to it, such as snapshots.example.",
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return bind_socket(host, port)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"Port {port} on {host} cannot be used.", "Choose another."
        ) from error


def _health(settings: Settings, circuit: CircuitBreaker):  # noqa: ANN202 - a Starlette endpoint, whose types are imported late
    from starlette.responses import JSONResponse  # noqa: PLC0415 - only this transport needs it

    async def health(_: "Request") -> "JSONResponse":
        """Tell that the server runs, and what its calls saw of the cloud; it asks nothing."""
        body = {
            "status": "ok",
            "version": __version__,
            "cloud": "embedded" if settings.embedded else "remote",
            "cloud_failing_since": circuit.failing_since and circuit.failing_since.isoformat(),
        }
        return JSONResponse(body)

    return health
