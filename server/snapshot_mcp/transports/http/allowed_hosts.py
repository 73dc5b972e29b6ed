"""Host and Origin checks for every path, and CORS for the origins that pass them.

A page of another site that resolves its name to this server (DNS rebinding) has that name in Host.
"""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.transports.http.error_responses import ErrorResponder, ErrorResponse
from snapshot_mcp.transports.http.request_ids import REQUEST_ID_HEADER
from snapshot_mcp.transports.http.settings import HttpSettings

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_ANY_PORT = ":*"
_PORT = re.compile(r"(:[0-9]{1,5})?\Z")
_DEFAULT_PORTS = {"http://": ":80", "https://": ":443"}
_REQUEST_HEADERS = (
    "authorization",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "traceparent",
    "tracestate",
    REQUEST_ID_HEADER,
)
_RESPONSE_HEADERS = (
    "Mcp-Session-Id",
    "MCP-Protocol-Version",
    "WWW-Authenticate",
    "Retry-After",
    "X-Request-Id",
)
_FORBIDDEN_HOST = ErrorResponse(421, "forbidden_host", "The host name is not one of this server.")
_FORBIDDEN_ORIGIN = ErrorResponse(403, "forbidden_origin", "Pages of this origin are not allowed.")


class AllowedHostMiddleware:
    """ASGI middleware that rejects foreign hosts and origins, and answers CORS preflights.

    Without authentication, pages on other ports of this machine get no CORS headers unless their
    origin is listed, because any page could then read the account.

    Args:
        app: the application to wrap.
        http_settings: the settings of the service.
        responder: sends the error responses.
    """

    def __init__(
        self, app: ASGIApp, http_settings: HttpSettings, responder: ErrorResponder
    ) -> None:
        self._app = app
        # Only allowed origins reach it, so it need not compare them again.
        self._cors_app = CORSMiddleware(
            app,
            allow_origin_regex=".*",
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
        self._hosts = _with_any_port((*_LOOPBACK_NAMES, *http_settings.host_names))
        listed_origins = {_normalize_origin(origin) for origin in http_settings.allowed_origins}
        self._origins = _own_origins(http_settings) | listed_origins
        self._cors_origins = (
            self._origins if http_settings.requires_authentication else listed_origins
        )
        self._responder = responder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origins = [_normalize_origin(origin) for origin in headers.getlist("origin")]
        if not all(_contains(self._hosts, host) for host in headers.getlist("host") or [""]):
            await self._responder.send(_FORBIDDEN_HOST, scope, receive, _with_vary(send))
        elif not all(_contains(self._origins, origin) for origin in origins):
            await self._responder.send(_FORBIDDEN_ORIGIN, scope, receive, _with_vary(send))
        elif origins and all(_contains(self._cors_origins, origin) for origin in origins):
            await self._cors_app(scope, receive, send)
        else:
            await self._app(scope, receive, _with_vary(send))


def _own_origins(http_settings: HttpSettings) -> set[str]:
    """Return the origins of pages that this machine, or the host of the public address, serves."""
    origins = [f"{scheme}://{host}" for host in _LOOPBACK_NAMES for scheme in ("http", "https")]
    if http_settings.public_url is not None:
        origins.append("/".join(http_settings.public_url.split("/", 3)[:3]))
    return _with_any_port(origins)


def _with_any_port(names: Iterable[str]) -> set[str]:
    """Return each name as it is, and with the wildcard that permits any port."""
    return {pattern.lower() for name in names for pattern in (name, name + _ANY_PORT)}


def _contains(patterns: set[str], value: str) -> bool:
    name = value.lower()
    return name in patterns or _PORT.sub(_ANY_PORT, name, count=1) in patterns


def _normalize_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without the port of its scheme."""
    name = origin.lower()
    for scheme, port in _DEFAULT_PORTS.items():
        if name.startswith(scheme):
            return name.removesuffix(port)
    return name


def _with_vary(send: Send) -> Send:
    """Return a `send` that adds `Vary`: for other origins, a response has other headers."""

    async def send_with_vary(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).add_vary_header("Origin")
        await send(message)

    return send_with_vary
