"""Monitoring endpoints: health and metrics."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from snapshot_mcp import __version__
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.settings.environment import Settings

HEALTH_PATH = "/health"
METRICS_PATH = "/metrics"


def health_endpoint(
    settings: Settings, circuit: CircuitBreaker
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that reports the version and whether calls to the cloud fail.

    The endpoint itself sends nothing to the cloud.

    Args:
        settings: the settings of the server.
        circuit: the circuit breaker of the cloud client.
    """

    async def health(_request: Request) -> Response:
        body = {
            "status": "ok",
            "version": __version__,
            "cloud": "embedded" if settings.embedded else "remote",
            "cloud_failing_since": circuit.failing_since and circuit.failing_since.isoformat(),
        }
        return JSONResponse(body)

    return health


async def metrics_endpoint(_request: Request) -> Response:
    """Return the current metrics in the Prometheus text format."""
    from snapshot_mcp.telemetry.setup import render_metrics  # noqa: PLC0415 - only if metrics are on

    text, content_type = render_metrics()
    return Response(text, media_type=content_type)
