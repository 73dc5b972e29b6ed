"""Connections: deadlines for requests and their responses, and limits on open connections.

uvicorn waits without a limit for the rest of a request and for a client that does not read. A
connection is waiting until its request is complete, and again after the response. Only waiting
connections are closed to make room, first those that have not yet had a complete request, so a
client whose requests are complete is always served.
"""

import asyncio
import logging
from typing import ClassVar, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 1_500
MAX_ADDRESS_SHARE = 0.8
"""Share of all connections that may be waiting for clients at one address."""

MAX_OPEN_FILES = 2 * MAX_CONNECTIONS
"""Files and sockets. Half are for the cloud, the ledger, and connections not counted yet."""

MAX_HEADER_BYTES = 96 * 1024
"""Bytes of all headers of a request: a token of 64 kB, and what proxies add."""

HEADER_TIMEOUT_SECONDS = 10.0
BODY_TIMEOUT_SECONDS = 20.0
READ_TIMEOUT_SECONDS = 30.0
"""Seconds in which a client must read the part of a response that waits for it."""

ACCEPT_BATCH = 64
"""Connections that are accepted before the limits apply to them."""

LISTEN_QUEUE = 1_024
"""Connections that the system keeps until they are accepted."""

_TIMEOUT_RESPONSE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)

logger = logging.getLogger(__name__)


class Timeouts(NamedTuple):
    """Seconds that each part of an exchange may take.

    Attributes:
        header: until the headers are complete.
        body: from then on, until the body is complete.
        read: until the client has read the part of a response that waits for it.
    """

    header: float = HEADER_TIMEOUT_SECONDS
    body: float = BODY_TIMEOUT_SECONDS
    read: float = READ_TIMEOUT_SECONDS


class ConnectionLimits:
    """The open connections of a server, and the limits that they share.

    Args:
        max_connections: the limit for all connections.
        timeouts: the limits for each exchange.
    """

    def __init__(
        self,
        max_connections: int = MAX_CONNECTIONS,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
    ) -> None:
        self.timeouts = timeouts
        self._max_connections = max_connections
        self._max_waiting_per_address = int(max_connections * MAX_ADDRESS_SHARE)
        self._open: dict[LimitedProtocol, str] = {}
        # The connection that has waited longest is the first.
        self._waiting: dict[LimitedProtocol, None] = {}

    def admit(self, connection: "LimitedProtocol", address: str) -> bool:
        """Return whether a new connection may stay, and close another one if it takes its place."""
        same_address = [other for other in self._waiting if self._open[other] == address]
        if len(same_address) >= self._max_waiting_per_address:
            logger.warning(
                "closed a connection without a complete request: its address has %d of them",
                len(same_address),
            )
            self._close_one(same_address)
        elif len(self._open) >= self._max_connections:
            if not self._waiting:
                logger.warning("refused a connection: all %d are in use", len(self._open))
                return False
            logger.warning(
                "closed a connection without a complete request: %d are open", len(self._open)
            )
            self._close_one(list(self._waiting))
        self._open[connection] = address
        return True

    def set_waiting(self, connection: "LimitedProtocol", *, waiting: bool) -> None:
        """Record whether a connection waits for its client."""
        if not waiting:
            self._waiting.pop(connection, None)
        elif connection in self._open:
            self._waiting.setdefault(connection)

    def remove(self, connection: "LimitedProtocol") -> None:
        """Forget a connection that is closed."""
        self._open.pop(connection, None)
        self._waiting.pop(connection, None)

    def _close_one(self, waiting: list["LimitedProtocol"]) -> None:
        # A client that sent complete requests before may be about to send the next one.
        closed = next((connection for connection in waiting if not connection.is_idle), waiting[0])
        self.remove(closed)
        closed.transport.abort()


class LimitedProtocol(H11Protocol):
    """The HTTP protocol of uvicorn, with deadlines and with the limits of a server.

    Each server has a subclass with its own limits.
    """

    limits: ClassVar[ConnectionLimits]

    _deadline: asyncio.TimerHandle | None = None
    _read_deadline: asyncio.TimerHandle | None = None
    _timeout = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it has answered a request, and has received nothing of the next one."""
        return bool(self.cycle) and self.cycle.response_complete and not self.conn.trailing_data[0]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline for the headers of the first request."""
        super().connection_made(transport)
        if self.limits.admit(self, self.client[0] if self.client else ""):
            self._update_deadline()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._set_deadline(0)
        self.resume_writing()
        self.limits.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle a part of a request; the first part of one starts its deadline."""
        if self.timeout_keep_alive_task is not None:
            self._set_deadline(0)
        super().data_received(data)
        self._update_deadline()

    def on_response_complete(self) -> None:
        """Wait for the rest of a request, or for the next one."""
        super().on_response_complete()
        self._update_deadline()

    def send_400_response(self, msg: str) -> None:
        """Answer an invalid request, or only close the connection if a response was started."""
        self._end_cycle()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Start the deadline for a client that does not read."""
        super().pause_writing()
        self._read_deadline = self.loop.call_later(self.limits.timeouts.read, self._stop_writing)

    def resume_writing(self) -> None:
        """Stop the deadline for a client that does not read."""
        super().resume_writing()
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None

    def _update_deadline(self) -> None:
        """Keep the deadline of the part that is awaited, or start or stop one."""
        is_body = self.conn.their_state is h11.SEND_BODY
        is_answering = bool(self.cycle) and not self.cycle.response_complete
        is_waiting = is_body or not is_answering
        timeouts = self.limits.timeouts
        timeout = timeouts.body if is_body else timeouts.header if is_waiting else 0
        if timeout != self._timeout:
            self._set_deadline(timeout)
        self.limits.set_waiting(self, waiting=is_waiting)

    def _set_deadline(self, timeout: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._timeout = timeout
        self._deadline = self.loop.call_later(timeout, self._stop_waiting) if timeout else None

    def _stop_waiting(self) -> None:
        if self.transport.is_closing():
            # The client has not read the rest of the last response.
            self.transport.abort()
            return
        logger.warning("closed a connection: its request was not complete in %g s", self._timeout)
        is_body = self.conn.their_state is h11.SEND_BODY
        if not self.cycle.response_started if is_body else self.conn.trailing_data[0]:
            self.transport.write(_TIMEOUT_RESPONSE)
        self._end_cycle()
        self.transport.close()
        self._set_deadline(self._timeout)

    def _end_cycle(self) -> None:
        """Let the application know that its client is gone, so that it sends nothing more."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _stop_writing(self) -> None:
        logger.warning(
            "closed a connection: its client did not read in %g s", self.limits.timeouts.read
        )
        self.transport.abort()
