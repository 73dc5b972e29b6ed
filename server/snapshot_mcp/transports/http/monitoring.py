"""Monitoring endpoints: health and metrics."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from snapshot_mcp import __version__
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.settings.environment import Settings

HEALTH_PATH = "/health"
METRICS_PATH = "/metrics"


def monitoring_routes(settings: Settings, circuit: CircuitBreaker) -> list[Route]:
    """Return the routes of /health and, if the settings ask for them, /metrics.

    Args:
        settings: the settings of the server.
        circuit: the circuit breaker of the cloud client.
    """
    routes = [Route(HEALTH_PATH, _health_endpoint(settings, circuit), methods=["GET"])]
    if settings.metrics:
        routes.append(Route(METRICS_PATH, _metrics, methods=["GET"]))
    return routes


def _health_endpoint(
    settings: Settings, circuit: CircuitBreaker
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint for the version and for recent failures of calls to the cloud.

    The endpoint itself sends nothing to the cloud.
    """

    async def health(_request: Request) -> Response:
        body = {
            "status": "ok",
            "version": __version__,
            "cloud": "embedded" if settings.embedded else "remote",
            "cloud_failing_since": circuit.failing_since and circuit.failing_since.isoformat(),
        }
        if settings.embedded_misbehaviour:
            body["misbehaves_on_purpose"] = settings.embedded_misbehaviour
        return JSONResponse(body)

    return health


async def _metrics(_request: Request) -> Response:
    """Return the current metrics in the Prometheus text format."""
    from snapshot_mcp.telemetry.setup import render_metrics  # noqa: PLC0415 - only if metrics are on

    text, content_type = render_metrics()
    return Response(text, media_type=content_type)
