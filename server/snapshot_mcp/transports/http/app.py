"""The HTTP service: the ASGI application of the SDK behind the middleware of this package."""

from collections.abc import Iterable, Sequence

from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.routing import Route
from starlette.types import ASGIApp

from snapshot_mcp.core.clock import SYSTEM_CLOCK, Clock
from snapshot_mcp.mcp_server.app import McpServer
from snapshot_mcp.mcp_server.prompt_files import load_prompts
from snapshot_mcp.transports.http.allowed_hosts import AllowedHostMiddleware
from snapshot_mcp.transports.http.authentication import AuthenticationMiddleware
from snapshot_mcp.transports.http.disconnects import DisconnectMiddleware
from snapshot_mcp.transports.http.error_responses import ErrorResponder
from snapshot_mcp.transports.http.jwks import JwksClient, KeySet
from snapshot_mcp.transports.http.principal_limits import (
    MAX_REQUEST_BYTES,
    SESSION_IDLE_SECONDS,
    PrincipalLimits,
)
from snapshot_mcp.transports.http.quotas import Quotas
from snapshot_mcp.transports.http.request_ids import RequestIdMiddleware
from snapshot_mcp.transports.http.scope_middleware import (
    RequestScopeMiddleware,
    ToolScopeMiddleware,
)
from snapshot_mcp.transports.http.scopes import SCOPES
from snapshot_mcp.transports.http.settings import HttpSettings
from snapshot_mcp.transports.http.token_verifier import TokenVerifier

METADATA_PATH = "/.well-known/oauth-protected-resource"
# Clients compare addresses as strings, so one without a path must not get a slash.
_URL = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True))


def create_http_app(
    server: McpServer,
    http_settings: HttpSettings,
    *,
    routes: Sequence[Route],
    public_paths: Iterable[str],
    sessions: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> ASGIApp:
    """Return the application that serves `server` at /mcp, and further routes.

    Args:
        server: the MCP server.
        http_settings: the settings of the service.
        routes: further routes of the application.
        public_paths: the paths of routes that need no authentication.
        sessions: whether clients of the legacy era have sessions, which replicas cannot share.
        clock: the clock.
    """
    if http_settings.requires_authentication:
        server.middleware.append(
            ToolScopeMiddleware({prompt.name: prompt.needs for prompt in load_prompts()})
        )
    app = server.streamable_http_app(
        # `AllowedHostMiddleware` does this for all paths.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=MAX_REQUEST_BYTES,
        session_idle_timeout=SESSION_IDLE_SECONDS,
        stateless_http=not sessions,
        custom_starlette_routes=list(routes),
    )
    responder = ErrorResponder(_metadata_url(http_settings))
    if http_settings.requires_authentication:
        metadata_routes = _metadata_routes(http_settings)
        app.router.routes.extend(metadata_routes)
        scoped_app = RequestScopeMiddleware(app, responder)
        guarded_app = AuthenticationMiddleware(
            PrincipalLimits(scoped_app, responder, clock),
            verifier=_verifier(http_settings, clock),
            quotas=Quotas(http_settings.requests_per_minute, clock),
            responder=responder,
            routes=app.router.routes,
            public_paths={*public_paths, *(route.path for route in metadata_routes)},
            clock=clock,
        )
    else:
        guarded_app = PrincipalLimits(app, responder, clock)
    allowed_app = AllowedHostMiddleware(guarded_app, http_settings, responder)
    return RequestIdMiddleware(DisconnectMiddleware(allowed_app))


def _verifier(http_settings: HttpSettings, clock: Clock) -> TokenVerifier:
    keys = None
    if http_settings.issuer is not None:
        keys = KeySet(
            JwksClient(http_settings.issuer, http_settings.jwks_url).fetch_keys, clock.monotonic
        )
    return TokenVerifier(
        static_tokens=http_settings.static_tokens,
        keys=keys,
        issuer=http_settings.issuer,
        audiences=http_settings.audiences,
        clock=clock,
    )


def _metadata_routes(http_settings: HttpSettings) -> Sequence[Route]:
    """Return the routes of the metadata that name the issuer, at two paths. Source: RFC 9728."""
    if http_settings.issuer is None or http_settings.public_url is None:
        return ()
    routes = create_protected_resource_routes(
        _URL.validate_python(http_settings.public_url),
        [_URL.validate_python(http_settings.issuer)],
        scopes_supported=list(SCOPES),
        resource_name="snapshot-mcp",
    )
    path_routes = [route for route in routes if route.path != METADATA_PATH]
    root_routes = [
        Route(METADATA_PATH, route.endpoint, methods=["GET", "OPTIONS"]) for route in path_routes
    ]
    return [*routes, *root_routes]


def _metadata_url(http_settings: HttpSettings) -> str | None:
    if http_settings.issuer is None or http_settings.public_url is None:
        return None
    return str(build_resource_metadata_url(_URL.validate_python(http_settings.public_url)))
