"""Serving the embedded cloud on a local port."""

import socket
from contextlib import suppress
from pathlib import Path

from snapshot_mcp.core.clock import SYSTEM_CLOCK, utc_now
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sockets import bind_socket
from snapshot_mcp.sandbox import store
from snapshot_mcp.sandbox.app import create_app
from snapshot_mcp.sandbox.misbehaviour import parse_misbehaviour
from snapshot_mcp.sandbox.seed import seed_database

_HOST = "127.0.0.1"
_MAX_PORT = 65_535


def serve(
    *,
    port: int,
    database: Path,
    api_key: str,
    misbehaviour: str = "",
    credit: float | None = None,
) -> None:
    """Serve until a signal ends the process; print address and key once callers can connect.

    Args:
        port: the port to listen on, on 127.0.0.1; 0 selects a free one.
        database: the SQLite file.
        api_key: the key that callers must send.
        misbehaviour: the options of `parse_misbehaviour`.
        credit: the account's credit in US dollars, to be stored; None to leave it unchanged.

    Raises:
        ConfigurationError: The port cannot be used, or an option is not valid.
    """
    # `create_app` is also used without a port, and should not load a web server then.
    import uvicorn  # noqa: PLC0415 - see above

    misbehaving = None
    if misbehaviour:
        from snapshot_mcp.sandbox.misbehaving_cloud import MisbehavingCloud  # noqa: PLC0415 - on request

        misbehaving = MisbehavingCloud(parse_misbehaviour(misbehaviour), SYSTEM_CLOCK)
    if credit is not None:
        _store_credit(database, credit)
    app = create_app(database=database, api_key=api_key, now=utc_now, misbehaving=misbehaving)
    with _bind(port) as listener:
        address = f"http://{_HOST}:{listener.getsockname()[1]}/v1"
        print(f"The embedded cloud listens at {address} with the key {api_key}", flush=True)
        if misbehaviour:
            print(f"It misbehaves on purpose: {misbehaviour}", flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        with suppress(KeyboardInterrupt):  # Ctrl-C is the usual end
            uvicorn.Server(config).run(sockets=[listener])


def _store_credit(database: Path, credit: float) -> None:
    with store.transaction(
        database, write=True, initialize=lambda session: seed_database(session, utc_now())
    ) as session:
        session.set_catalogue_item("credit", {"id": 1, "credit": credit, "threshold": 0})


def _bind(port: int) -> socket.socket:
    if not 0 <= port <= _MAX_PORT:
        raise _port_error(port, "it is not a port number")
    try:
        return bind_socket(_HOST, port)
    except OSError as error:
        raise _port_error(port, error.strerror or "it is not free") from error


def _port_error(port: int, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Port {port} of {_HOST} cannot be used: {reason}.",
        "Stop the program that uses it, or choose another port with --port.",
    )
