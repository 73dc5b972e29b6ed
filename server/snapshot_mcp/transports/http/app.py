"""The service as one ASGI application: the SDK's, behind all that guards it."""

from collections.abc import Iterable, Sequence

from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.transport_security import RequestBodyLimitMiddleware, TransportSecuritySettings
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.routing import Route
from starlette.types import ASGIApp

from snapshot_mcp.core.clock import SYSTEM_CLOCK, Clock
from snapshot_mcp.mcp_server.app import McpServer
from snapshot_mcp.mcp_server.prompt_files import load_prompts
from snapshot_mcp.transports.http.authentication import (
    AuthenticationMiddleware,
    RequestScopeMiddleware,
)
from snapshot_mcp.transports.http.error_responses import ErrorResponder
from snapshot_mcp.transports.http.jwks import JwksClient, KeySet
from snapshot_mcp.transports.http.quotas import MAX_REQUEST_BYTES, Quotas, RequestIdMiddleware
from snapshot_mcp.transports.http.scope_middleware import ToolScopeMiddleware
from snapshot_mcp.transports.http.scopes import SCOPES
from snapshot_mcp.transports.http.settings import HttpSettings
from snapshot_mcp.transports.http.token_verifier import TokenVerifier

METADATA_PATH = "/.well-known/oauth-protected-resource"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# An address without a path stays without one: clients compare it letter by letter.
_URL = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True))


def create_http_app(
    server: McpServer,
    service: HttpSettings,
    *,
    routes: Sequence[Route],
    public_paths: Iterable[str],
    sessions: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> ASGIApp:
    """The application that serves `server` at /mcp.

    Args:
        server: what is served.
        service: who may call it, and how often.
        routes: further routes of the application.
        public_paths: paths of the routes that need no token.
        sessions: whether clients of the legacy era have sessions; replicas do not share those.
        clock: the time.
    """
    if service.requires_authentication:
        server.middleware.append(ToolScopeMiddleware({it.name: it.needs for it in load_prompts()}))
    security = TransportSecuritySettings(
        allowed_hosts=_hosts(service), allowed_origins=_origins(service)
    )
    app = server.streamable_http_app(
        transport_security=security,
        max_request_body_size=MAX_REQUEST_BYTES,
        stateless_http=not sessions,
        custom_starlette_routes=list(routes),
    )
    if not service.requires_authentication:
        return RequestIdMiddleware(app)
    metadata = _metadata(service)
    app.router.routes.extend(metadata)
    refuse = ErrorResponder(_metadata_url(service))
    limited = RequestBodyLimitMiddleware(RequestScopeMiddleware(app, refuse), MAX_REQUEST_BYTES)
    guard = AuthenticationMiddleware(
        limited,
        verifier=_verifier(service, clock),
        quotas=Quotas(service.requests_per_minute, clock),
        refuse=refuse,
        public_paths={*public_paths, *(route.path for route in metadata)},
        clock=clock,
    )
    return RequestIdMiddleware(guard)


def _verifier(service: HttpSettings, clock: Clock) -> TokenVerifier:
    keys = None
    if service.issuer is not None:
        keys = KeySet(JwksClient(service.issuer, service.jwks_url).fetch_keys, clock.monotonic)
    return TokenVerifier(
        static_tokens=service.static_tokens,
        keys=keys,
        issuer=service.issuer,
        audience=service.audience,
        clock=clock,
    )


def _metadata(service: HttpSettings) -> Sequence[Route]:
    """Where clients learn who issues tokens (RFC 9728): at the resource's path and the root."""
    if service.issuer is None or service.audience is None:
        return ()
    own = create_protected_resource_routes(
        _URL.validate_python(service.audience),
        [_URL.validate_python(service.issuer)],
        scopes_supported=list(SCOPES),
        resource_name="snapshot-mcp",
    )
    at_root = [Route(METADATA_PATH, it.endpoint, methods=["GET", "OPTIONS"]) for it in own]
    return [*own, *(it for it in at_root if it.path != own[0].path)]


def _metadata_url(service: HttpSettings) -> str | None:
    if service.audience is None:
        return None
    return str(build_resource_metadata_url(_URL.validate_python(service.audience)))


def _hosts(service: HttpSettings) -> list[str]:
    named = (*_LOOPBACK, *service.host_names)
    return [form for it in named for form in (it, f"{it}:*")]


def _origins(service: HttpSettings) -> list[str]:
    own = [f"{scheme}://{host}" for host in _LOOPBACK for scheme in ("http", "https")]
    if service.audience is not None:
        own.append("/".join(service.audience.split("/", 3)[:3]))
    return [form for it in (*own, *service.allowed_origins) for form in (it, f"{it}:*")]
