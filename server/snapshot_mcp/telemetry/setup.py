"""Where spans and metrics go, as the standard variables of OpenTelemetry say."""

import threading
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from snapshot_mcp import __version__
from snapshot_mcp.core.instrumentation import OBSERVER
from snapshot_mcp.telemetry.opentelemetry import OpenTelemetryObserver
from snapshot_mcp.telemetry.span_filter import SpanFilter

SHUTDOWN_TIMEOUT_SECONDS = 2.0
"""So long what is left may take to be sent."""


@contextmanager
def observe_process(
    environment: Mapping[str, str], names: Collection[str], *, exports: bool, shows: bool
) -> Generator[None]:
    """Count, time and trace within the block; what is left is sent at its end.

    Args:
        environment: of it OTEL_SERVICE_NAME is read here, the rest by OpenTelemetry itself.
        names: the names of tools and prompts, which spans may carry.
        exports: send spans and metrics over OTLP.
        shows: keep the metrics for `/metrics`.
    """
    service = environment.get("OTEL_SERVICE_NAME") or "snapshot-mcp"
    resource = Resource.create({"service.name": service, "service.version": __version__})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    meters = MeterProvider(
        list(_readers(exports=exports, shows=shows)), resource=resource, shutdown_on_exit=False
    )
    if exports:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - if asked for
            OTLPSpanExporter,
        )

        tracers.add_span_processor(BatchSpanProcessor(SpanFilter(OTLPSpanExporter(), names)))
    # The SDK of MCP makes its spans with whatever is set for the process.
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    OBSERVER.set(OpenTelemetryObserver(tracers, meters))
    try:
        yield
    finally:
        OBSERVER.set(None)
        # A collector that does not answer is tried for longer than anybody waits for an end.
        ending = threading.Thread(target=_end, args=(tracers, meters), daemon=True)
        ending.start()
        ending.join(SHUTDOWN_TIMEOUT_SECONDS)


def _end(tracers: TracerProvider, meters: MeterProvider) -> None:
    tracers.shutdown()
    meters.shutdown()


def _readers(*, exports: bool, shows: bool) -> Generator[MetricReader]:
    if exports:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - if asked for
            OTLPMetricExporter,
        )

        yield PeriodicExportingMetricReader(OTLPMetricExporter())
    if shows:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 - as above

        yield PrometheusMetricReader()


def render_metrics() -> tuple[bytes, str]:
    """The metrics as Prometheus reads them, and the type of that text."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - as above

    return generate_latest(), CONTENT_TYPE_LATEST
