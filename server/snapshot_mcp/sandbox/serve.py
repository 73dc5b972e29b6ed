"""Serves the embedded cloud on a port of this machine."""

import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sockets import bind_socket
from snapshot_mcp.sandbox.app import create_app

_HOST = "127.0.0.1"
_LAST_PORT = 65_535


def serve(*, port: int, database: Path, api_key: str) -> None:
    """Serve until a signal ends it; says address and key on stdout once callers can connect.

    Args:
        port: where to listen, on 127.0.0.1 only; 0 takes a free one.
        database: the SQLite file.
        api_key: what callers must send.

    Raises:
        ConfigError: the port cannot be used.
    """
    # The cloud that is joined without a port has no use for a server, and should not wait for one.
    import uvicorn  # noqa: PLC0415 - only here, see above

    app = create_app(database=database, api_key=api_key, now=lambda: datetime.now(UTC))
    with _listen(port) as listener:
        address = f"http://{_HOST}:{listener.getsockname()[1]}/v1"
        print(f"The embedded cloud listens at {address} with the key {api_key}", flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        with suppress(KeyboardInterrupt):  # the usual end: a person pressed Ctrl-C
            uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    if not 0 <= port <= _LAST_PORT:
        raise _unusable(port, "it is no port")
    try:
        return bind_socket(_HOST, port)
    except OSError as error:
        raise _unusable(port, error.strerror or "it is not free") from error


def _unusable(port: int, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"Port {port} of {_HOST} cannot be used: {why}.",
        "Stop what uses it, or choose another one with --port.",
    )
