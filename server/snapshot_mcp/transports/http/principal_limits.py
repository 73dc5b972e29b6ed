"""Limits of each principal on sessions, open streams, concurrent requests and their size.

Each process has its own limits. A refused request reaches no session, no tool and no cloud.
"""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus

from cachetools import LRUCache, TTLCache
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.request_context import LOCAL_PRINCIPAL
from snapshot_mcp.mcp_server.context import principal_of
from snapshot_mcp.transports.http.error_responses import ErrorResponder, ErrorResponse

MCP_PATH = "/mcp"

MAX_REQUEST_BYTES = 64 * 1024
"""Size of a request's body, about ten times what clients need."""

MAX_SESSIONS = 100
MAX_STREAMS = 50
MAX_CONCURRENT_REQUESTS = 50
"""Requests that are being received or answered, except streams."""

SESSION_IDLE_SECONDS = 1_800
"""Seconds without a request after which a session ends."""

_RETRY_AFTER_SECONDS = 5
_MAX_PRINCIPALS = 10_000
_SESSION_HEADER = "mcp-session-id"

_TOO_LARGE = ErrorResponse(
    413, "request_too_large", f"The body is longer than {MAX_REQUEST_BYTES:,} bytes."
)


def is_stream(scope: Scope) -> bool:
    """Return whether the request opens a stream, in either era."""
    # Source: the SDK rejects a message of 2026-07-28 whose header names another method.
    method = Headers(scope=scope).get("mcp-method")
    return scope["method"] == "GET" or method == "subscriptions/listen"


class _LimitError(Exception):
    """The principal has reached a limit.

    Args:
        response: the response to the request.
    """

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(response.description)
        self.response = response


@dataclass
class _Usage:
    """The current usage of one principal.

    Attributes:
        sessions: the ids of the open sessions. An idle one is forgotten when the SDK ends it.
        opening: the number of requests in progress that may open a session.
        streams: the number of open streams.
        requests: the number of other requests in progress.
    """

    sessions: TTLCache[str, None]
    opening: int = 0
    streams: int = 0
    requests: int = 0

    @contextmanager
    def count_request(self, *, stream: bool) -> Generator[None]:
        """Count a request until the end of the block.

        Raises:
            _LimitError: the principal has as many as are permitted.
        """
        if stream:
            if self.streams >= MAX_STREAMS:
                raise _LimitError(_over_limit(f"{MAX_STREAMS} open streams", "Close one."))
            self.streams += 1
        else:
            if self.requests >= MAX_CONCURRENT_REQUESTS:
                raise _LimitError(_over_limit(f"{MAX_CONCURRENT_REQUESTS} requests in progress"))
            self.requests += 1
        try:
            yield
        finally:
            if stream:
                self.streams -= 1
            else:
                self.requests -= 1

    @contextmanager
    def count_opening(self) -> Generator[None]:
        """Count a request that may open a session until the end of the block.

        Raises:
            _LimitError: the principal has as many sessions as are permitted.
        """
        self.sessions.expire()
        if len(self.sessions) + self.opening >= MAX_SESSIONS:
            advice = (
                f"End one, or wait: a session ends after {SESSION_IDLE_SECONDS // 60} min idle."
            )
            raise _LimitError(_over_limit(f"{MAX_SESSIONS} open sessions", advice))
        self.opening += 1
        try:
            yield
        finally:
            self.opening -= 1

    def note_response(self, method: str, session: str | None, response: Message) -> None:
        """Note which session a response opens, uses or ends.

        Args:
            method: the method of the request.
            session: the session that the request names.
            response: the first message of the response.
        """
        status = response["status"]
        if session is not None and (method == "DELETE" or status == HTTPStatus.NOT_FOUND):
            self.sessions.pop(session, None)
        elif status < HTTPStatus.BAD_REQUEST:
            opened = Headers(raw=response["headers"]).get(_SESSION_HEADER)
            if opened is not None:
                self.sessions[opened] = None


class PrincipalLimits:
    """ASGI middleware that limits what one principal can occupy, so that others are served.

    Args:
        app: the application to wrap.
        responder: sends the error responses.
        clock: the clock.
    """

    def __init__(self, app: ASGIApp, responder: ErrorResponder, clock: Clock) -> None:
        self._app = app
        self._responder = responder
        self._clock = clock
        self._usages: LRUCache[str, _Usage] = LRUCache(_MAX_PRINCIPALS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] != MCP_PATH:
            await self._app(scope, receive, send)
            return
        usage = self._usage_of(_principal(scope))
        try:
            with usage.count_request(stream=is_stream(scope)):
                body = await _read_body(scope, receive)
                if body is None:
                    return  # the client has left
                receive = _replay_body(body, receive)
                with usage.count_opening() if _may_open_session(scope) else nullcontext():
                    await self._run(usage, scope, receive, send)
        except _LimitError as error:
            await self._responder.send(error.response, scope, receive, send)

    def _usage_of(self, principal: str) -> _Usage:
        usage = self._usages.get(principal)
        if usage is None:
            sessions = TTLCache[str, None](
                MAX_SESSIONS + MAX_CONCURRENT_REQUESTS, SESSION_IDLE_SECONDS, self._clock.monotonic
            )
            usage = self._usages[principal] = _Usage(sessions)
        return usage

    async def _run(self, usage: _Usage, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and note which session its response opens, uses or ends."""
        session = Headers(scope=scope).get(_SESSION_HEADER)

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                usage.note_response(scope["method"], session, message)
            await send(message)

        await self._app(scope, receive, send_and_note)
        if session is not None and session in usage.sessions:
            usage.sessions[session] = None  # its idle time begins now


def _principal(scope: Scope) -> str:
    user = scope.get("user")
    return (
        principal_of(user.access_token) if isinstance(user, AuthenticatedUser) else LOCAL_PRINCIPAL
    )


def _may_open_session(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    is_modern = headers.get("mcp-protocol-version") in MODERN_PROTOCOL_VERSIONS
    return scope["method"] == "POST" and _SESSION_HEADER not in headers and not is_modern


def _over_limit(occupied: str, advice: str = "Wait for the end of one.") -> ErrorResponse:
    description = f"You have {occupied}, which is the limit. {advice}"
    return ErrorResponse(429, "limit_reached", description, retry_after=_RETRY_AFTER_SECONDS)


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """Return the body of a request; None if the client left before its end.

    Raises:
        _LimitError: the body is too long.
    """
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > MAX_REQUEST_BYTES:
        raise _LimitError(_TOO_LARGE)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_REQUEST_BYTES:
            raise _LimitError(_TOO_LARGE)
        if not message.get("more_body", False):
            return bytes(body)


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns `body` again, and then the messages after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again
