"""Serving: build the server with its telemetry, and run it over stdio or HTTP."""

import gc
import os
import socket
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING

from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sockets import bind_socket
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from snapshot_mcp.transports.shutdown import end_by_signal
from snapshot_mcp.transports.stdio import run_stdio

if TYPE_CHECKING:
    from snapshot_mcp.transports.http.settings import HttpSettings


def serve_stdio(settings: Settings) -> bool:
    """Serve over stdin and stdout until one of them is closed or the process is ended.

    Args:
        settings: the settings of the server.

    Returns:
        Whether stdin ended; False if the client closed stdout before.
    """
    server = create_server(settings)
    _resume_garbage_collection()
    with ExitStack() as telemetry:
        telemetry.enter_context(_observe(settings))
        return run_stdio(server, telemetry.close)


def serve_http(settings: Settings, http_settings: "HttpSettings", *, host: str, port: int) -> None:
    """Serve Streamable HTTP at /mcp, and /health, until the process is ended.

    Args:
        settings: the settings of the server.
        http_settings: the settings of the HTTP service.
        host: the address to listen on.
        port: the port to listen on.

    Raises:
        ConfigurationError: The address is reachable by others but the service has no
            authentication or no allowed host, it shares its signing key but not its ledger, or the
            port cannot be used.
    """
    from snapshot_mcp.transports.http.app import create_http_app  # noqa: PLC0415 - likewise
    from snapshot_mcp.transports.http.monitoring import (  # noqa: PLC0415 - likewise
        HEALTH_PATH,
        monitoring_routes,
    )
    from snapshot_mcp.transports.http.settings import (  # noqa: PLC0415 - likewise
        check_exposure,
        check_shared_key,
    )
    from snapshot_mcp.transports.http.web_server import run_web_server  # noqa: PLC0415 - likewise

    check_exposure(host, http_settings)
    check_shared_key(settings)
    listener = _bind(host, port)
    circuit = CircuitBreaker()
    server = create_server(settings, circuit=circuit)
    routes = monitoring_routes(settings, circuit)
    # A session of the legacy era lives in one process, so replicas serve that era without sessions.
    is_replica = settings.database_url is not None
    app = create_http_app(
        server, http_settings, routes=routes, public_paths=[HEALTH_PATH], sessions=not is_replica
    )
    _resume_garbage_collection()
    with _observe(settings, serve_metrics=settings.metrics):
        number = run_web_server(app, listener)
    if number is not None:
        end_by_signal(number)


def _resume_garbage_collection() -> None:
    """Turn garbage collection on again, except for the objects of the start: they stay alive."""
    gc.freeze()
    gc.enable()


def _observe(settings: Settings, *, serve_metrics: bool = False) -> AbstractContextManager[None]:
    """Record spans and metrics if the settings ask for either."""
    if not settings.exports and not serve_metrics:
        return nullcontext()
    from snapshot_mcp.mcp_server.prompt_files import load_prompts  # noqa: PLC0415 - only with telemetry
    from snapshot_mcp.mcp_server.tools.toolsets import TOOLS  # noqa: PLC0415 - as above
    from snapshot_mcp.telemetry.setup import observe_process  # noqa: PLC0415 - as above

    tools = {tool.name for tool in TOOLS}
    names = tools | {prompt.name for prompt in load_prompts()}
    return observe_process(os.environ, names, export=settings.exports, serve_metrics=serve_metrics)


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind_socket(host, port)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"Port {port} on {host} cannot be used.", "Choose another port."
        ) from error
