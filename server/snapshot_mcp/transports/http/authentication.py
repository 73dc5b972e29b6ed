"""Authentication middleware: reject anonymous requests except to public and unknown paths.

An unknown path is answered 404 without a token. Otherwise clients would take the 401 of a metadata
path for the start of an OAuth flow.

The order of all checks is: token, any scope at all, quota, limits of the principal (which include
the size of the body), scopes of the request.
"""

from collections.abc import Collection, Sequence

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
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
from snapshot_mcp.transports.http.principal_limits import is_stream
from snapshot_mcp.transports.http.quotas import Quotas
from snapshot_mcp.transports.http.scopes import READ
from snapshot_mcp.transports.http.token_claims import RejectedTokenError
from snapshot_mcp.transports.http.token_verifier import TokenVerifier

_SCHEME = "bearer "
_UNAUTHENTICATED = ErrorResponse(401, "", "This server requires a bearer token.", (READ,))


class AuthenticationMiddleware:
    """ASGI middleware that admits authenticated callers with a scope and a free quota.

    Args:
        app: the application to wrap. It must not read the body of a request to a public path.
        verifier: verifies the tokens.
        quotas: the quotas of the principals.
        responder: sends the error responses.
        routes: the routes of the application.
        public_paths: the paths that need no authentication.
        clock: the clock.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        verifier: TokenVerifier,
        quotas: Quotas,
        responder: ErrorResponder,
        routes: Sequence[BaseRoute],
        public_paths: Collection[str],
        clock: Clock,
    ) -> None:
        self._app = AuthContextMiddleware(app)
        self._public_app = app
        self._verifier = verifier
        self._quotas = quotas
        self._responder = responder
        self._routes = routes
        self._public_paths = public_paths
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or self._is_public(scope):
            await self._public_app(scope, receive, send)
            return
        access_token = await self._admit(Headers(scope=scope))
        if isinstance(access_token, ErrorResponse):
            await self._responder.send(access_token, scope, receive, send)
            return
        scope["user"] = AuthenticatedUser(access_token)
        scope["auth"] = AuthCredentials(access_token.scopes)
        if access_token.expires_at is not None and is_stream(scope):
            seconds = access_token.expires_at - self._clock.now().timestamp()
            await _run_with_timeout(seconds, self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        if scope["path"] in self._public_paths:
            return True
        return all(route.matches(scope)[0] is Match.NONE for route in self._routes)

    async def _admit(self, headers: Headers) -> AccessToken | ErrorResponse:
        access_token = await self._authenticate(headers)
        if isinstance(access_token, ErrorResponse):
            return access_token
        if not access_token.scopes:
            return insufficient_scope((), {READ})
        seconds = self._quotas.seconds_until_permitted(principal_of(access_token))
        return _rate_limited(seconds) if seconds else access_token

    async def _authenticate(self, headers: Headers) -> AccessToken | ErrorResponse:
        values = headers.getlist("authorization")
        if len(values) != 1 or not values[0].lower().startswith(_SCHEME):
            return _UNAUTHENTICATED
        try:
            return await self._verifier.verify(values[0][len(_SCHEME) :].strip())
        except RejectedTokenError as error:
            return ErrorResponse(401, "invalid_token", str(error), (READ,))
        except KeysUnavailableError:
            description = "The token cannot be verified now: the issuer gives no keys."
            return ErrorResponse(
                503, "temporarily_unavailable", description, retry_after=RETRY_AFTER_SECONDS
            )


def _rate_limited(seconds: float) -> ErrorResponse:
    description = "Too many requests within one minute, or within one second."
    return ErrorResponse(429, "rate_limited", description, retry_after=max(seconds, 1))


async def _run_with_timeout(
    seconds: float, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run `app` for at most `seconds`, and end a response that it has started."""
    started = False

    async def send_and_record(message: Message) -> None:
        nonlocal started
        started = True
        await send(message)

    with anyio.move_on_after(seconds) as timeout:
        await app(scope, receive, send_and_record)
    if timeout.cancelled_caught and started:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
