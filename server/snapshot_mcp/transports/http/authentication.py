"""Who comes in: nothing but what is open to all is answered to anybody who is not known.

The order is always: token -> any scope at all -> quota -> size of the body -> scope of the request.
"""

import json
from collections.abc import Collection, Mapping
from typing import cast

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.mcp_server.context import principal_of
from snapshot_mcp.transports.http.error_responses import (
    RETRY_AFTER_SECONDS,
    ErrorResponder,
    ErrorResponse,
    insufficient_scope,
)
from snapshot_mcp.transports.http.jwks import KeysUnavailableError
from snapshot_mcp.transports.http.quotas import Quotas
from snapshot_mcp.transports.http.scopes import READ, SCOPES, required_scopes
from snapshot_mcp.transports.http.token_verifier import RejectedTokenError, TokenVerifier

_SCHEME = "bearer "
_UNKNOWN = ErrorResponse(401, "", "This service wants to know who calls it", (READ,))


class AuthenticationMiddleware:
    """Lets requests in whose caller is known, may do something, and has not done too much.

    Args:
        app: what answers them.
        verifier: tells who presents a token.
        quotas: how much each may ask.
        refuse: answers the others.
        public_paths: what is answered to all.
        clock: the time.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        verifier: TokenVerifier,
        quotas: Quotas,
        refuse: ErrorResponder,
        public_paths: Collection[str],
        clock: Clock,
    ) -> None:
        self._app = AuthContextMiddleware(app)
        self._public_app = app
        self._verifier = verifier
        self._quotas = quotas
        self._refuse = refuse
        self._open_paths = public_paths
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it in."""
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._public_app(scope, receive, send)
            return
        access = await self._admitted(Headers(scope=scope))
        if isinstance(access, ErrorResponse):
            await self._refuse(access, scope, receive, send)
            return
        scope["user"] = AuthenticatedUser(access)
        scope["auth"] = AuthCredentials(access.scopes)
        if access.expires_at is not None and _lasts(scope):
            seconds = access.expires_at - self._clock.now().timestamp()
            await _within(seconds, self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _admitted(self, headers: Headers) -> AccessToken | ErrorResponse:
        access = await self._known(headers)
        if isinstance(access, ErrorResponse):
            return access
        if not access.scopes:
            return insufficient_scope((), {READ})
        seconds = self._quotas.seconds_until_permitted(principal_of(access))
        return _too_many(seconds) if seconds else access

    async def _known(self, headers: Headers) -> AccessToken | ErrorResponse:
        given = headers.getlist("authorization")
        if len(given) != 1 or not given[0].lower().startswith(_SCHEME):
            return _UNKNOWN
        try:
            return await self._verifier.verify(given[0][len(_SCHEME) :].strip())
        except RejectedTokenError as error:
            return ErrorResponse(401, "invalid_token", str(error), (READ,))
        except KeysUnavailableError:
            told = "The issuer of tokens does not answer; nothing was done"
            return ErrorResponse(
                503, "temporarily_unavailable", told, retry_after=RETRY_AFTER_SECONDS
            )


class RequestScopeMiddleware:
    """Lets a request through that its caller's scopes allow; the others get nowhere.

    Args:
        app: what answers them.
        refuse: answers the others.
    """

    def __init__(self, app: ASGIApp, refuse: ErrorResponder) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        credentials: object = scope.get("auth")
        held = credentials.scopes if isinstance(credentials, AuthCredentials) else SCOPES
        # Who may do everything need not be read twice.
        if scope["type"] != "http" or scope["method"] != "POST" or set(SCOPES) <= set(held):
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if missing := _needed(body) - set(held):
            await self._refuse(insufficient_scope(held, missing), scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)


def _needed(body: bytes) -> frozenset[str]:
    """What the messages in `body` need; what is no message, the SDK answers."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    messages = cast("list[object]", decoded) if isinstance(decoded, list) else [decoded]
    asked = [cast("Mapping[str, object]", it) for it in messages if isinstance(it, dict)]
    needs = [required_scopes(str(it.get("method", "")), it.get("params")) for it in asked]
    return frozenset[str]().union(*needs)


def _too_many(seconds: float) -> ErrorResponse:
    told = "Too many requests in a minute; nothing was done"
    return ErrorResponse(429, "rate_limited", told, retry_after=max(seconds, 1))


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A way to receive `body` once more, and then what comes after it."""
    kept: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return kept.pop() if kept else await receive()

    return receive_again


def _lasts(scope: Scope) -> bool:
    """Whether it is a request to listen, of either era, which ends when its token does."""
    # Source: the SDK refuses a message of 2026-07-28 whose header names another method.
    method = Headers(scope=scope).get("mcp-method")
    return scope["method"] == "GET" or method == "subscriptions/listen"


async def _within(seconds: float, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Let `app` answer for so long; what it has begun then is brought to its end."""
    begun = False

    async def send_noting(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    with anyio.move_on_after(seconds) as cut:
        await app(scope, receive, send_noting)
    if cut.cancelled_caught and begun:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
