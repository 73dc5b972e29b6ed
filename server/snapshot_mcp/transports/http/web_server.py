"""The web server: uvicorn with limits on connections and on log lines."""

import logging
import socket
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from snapshot_mcp.core.sockets import raise_open_file_limit
from snapshot_mcp.transports.http.connections import (
    ACCEPT_BATCH,
    LISTEN_QUEUE,
    MAX_HEADER_BYTES,
    MAX_OPEN_FILES,
    ConnectionLimits,
    LimitedProtocol,
)
from snapshot_mcp.transports.http.log_limits import LOG_INTERVAL_SECONDS, RepetitionFilter
from snapshot_mcp.transports.shutdown import (
    DRAIN_TIMEOUT_SECONDS,
    force_exit_after_timeout,
    handle_signals,
    signal_exit_code,
)


class _Server(uvicorn.Server):
    received_signal: int | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.received_signal = sig
        force_exit_after_timeout(signal_exit_code(sig))
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn does not handle SIGHUP, and ends the process before telemetry is sent.
        with handle_signals(self.handle_exit):
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # asyncio accepts as many connections in one step as its queue is long, before any limit
        # applies. The system's queue must be longer, or new clients wait a second to try again.
        for listener in sockets or []:
            listener.listen(LISTEN_QUEUE)


def run_web_server(app: ASGIApp, listener: socket.socket) -> int | None:
    """Serve an application until a signal arrives, and return its number.

    Args:
        app: the application.
        listener: the socket to accept connections on.
    """
    limits = ConnectionLimits(raise_open_file_limit(MAX_OPEN_FILES) // 2)
    filters = [(handler, RepetitionFilter(handler)) for handler in logging.getLogger().handlers]

    async def flush_filters() -> None:
        for _, repetition_filter in filters:
            repetition_filter.flush()

    config = make_config(
        app, limits, callback_notify=flush_filters, timeout_notify=LOG_INTERVAL_SECONDS
    )
    for handler, repetition_filter in filters:
        handler.addFilter(repetition_filter)
    server = _Server(config)
    server.run(sockets=[listener])
    for _, repetition_filter in filters:
        repetition_filter.flush()
    return server.received_signal


def make_config(app: ASGIApp, limits: ConnectionLimits, **options: Any) -> uvicorn.Config:  # noqa: ANN401 - those of uvicorn
    """Return the configuration of a server.

    Args:
        app: the application.
        limits: the limits on its connections.
        options: further options of uvicorn.
    """

    class Protocol(LimitedProtocol):
        pass

    Protocol.limits = limits
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        backlog=ACCEPT_BATCH,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=DRAIN_TIMEOUT_SECONDS,
        **options,
    )
