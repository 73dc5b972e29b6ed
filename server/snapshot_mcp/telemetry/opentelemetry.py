"""Metrics and spans with OpenTelemetry; spans are children of those of the MCP SDK."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind, StatusCode, TracerProvider

from snapshot_mcp import __version__
from snapshot_mcp.core.errors import error_kind
from snapshot_mcp.core.instrumentation import ReportStatus

SCOPE = "snapshot-mcp"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class OpenTelemetryObserver:
    """An `Observer`.

    Args:
        tracers: creates spans.
        meters: creates metrics.
    """

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        self._tracer = tracers.get_tracer(SCOPE, __version__)
        meter = meters.get_meter(SCOPE, __version__)
        self._calls = meter.create_histogram(
            "snapshot_mcp.tool.duration",
            unit="s",
            description="Tool calls",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._errors = meter.create_counter(
            "snapshot_mcp.tool.errors", description="Failed calls, by kind of error"
        )
        self._refusals = meter.create_counter(
            "snapshot_mcp.refusals", description="Calls refused by this server, by tool"
        )
        self._requests = meter.create_histogram(
            "snapshot_mcp.cloud.duration",
            unit="s",
            description="Requests to the cloud",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._retries = meter.create_counter(
            "snapshot_mcp.cloud.retries", description="Retried requests to the cloud"
        )
        self._budget = meter.create_gauge(
            "snapshot_mcp.cloud.budget",
            description="Requests that the cloud still accepts in this minute",
        )

    def record_call(self, tool: str, seconds: float, error: str) -> None:
        """Record one tool call, as described in `Observer.record_call`."""
        self._calls.record(seconds, {"tool": tool, "outcome": "error" if error else "ok"})
        if error:
            self._errors.add(1, {"tool": tool, "kind": error})
        if error == "RefusedError":
            self._refusals.add(1, {"tool": tool})

    @contextmanager
    def record_request(self, method: str, route: str, retries: int) -> Generator[ReportStatus]:
        """Record one request, as described in `Observer.record_request`."""
        attributes: dict[str, str | int] = {"http.request.method": method, "http.route": route}
        started = time.perf_counter()
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            kind=SpanKind.CLIENT,
            attributes={**attributes, "http.request.resend_count": retries},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            def report_status(status: int) -> None:
                attributes["http.response.status_code"] = status
                span.set_attribute("http.response.status_code", status)
                if status >= 400:  # noqa: PLR2004 - HTTP errors
                    span.set_status(StatusCode.ERROR)

            try:
                yield report_status
            except BaseException as error:
                attributes["error.type"] = error_kind(error)
                span.set_attribute("error.type", error_kind(error))
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                self._requests.record(time.perf_counter() - started, attributes)
                if retries:
                    self._retries.add(1, {"http.request.method": method})

    def record_remaining_requests(self, remaining: int) -> None:
        """Record the remaining requests of this minute."""
        self._budget.set(remaining)
