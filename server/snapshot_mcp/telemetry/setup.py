"""Setup of spans and metrics from the standard environment variables of OpenTelemetry."""

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
"""Limit for sending the remaining spans and metrics."""


@contextmanager
def observe_process(
    environment: Mapping[str, str], names: Collection[str], *, export: bool, serve_metrics: bool
) -> Generator[None]:
    """Record spans and metrics within the block, and send the rest at its end.

    Args:
        environment: source of OTEL_SERVICE_NAME; OpenTelemetry reads its other variables itself.
        names: names of tools and prompts, which spans may contain.
        export: send spans and metrics over OTLP.
        serve_metrics: collect the metrics for `/metrics`.
    """
    service = environment.get("OTEL_SERVICE_NAME") or "snapshot-mcp"
    resource = Resource.create({"service.name": service, "service.version": __version__})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    meters = MeterProvider(
        list(_readers(export=export, serve_metrics=serve_metrics)),
        resource=resource,
        shutdown_on_exit=False,
    )
    if export:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - if enabled
            OTLPSpanExporter,
        )

        tracers.add_span_processor(BatchSpanProcessor(SpanFilter(OTLPSpanExporter(), names)))
    # The MCP SDK uses the global providers of the process.
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    OBSERVER.set(OpenTelemetryObserver(tracers, meters))
    try:
        yield
    finally:
        OBSERVER.set(None)
        # The exporters retry an unreachable collector for longer than a shutdown may take.
        shutdown = threading.Thread(target=_shut_down, args=(tracers, meters), daemon=True)
        shutdown.start()
        shutdown.join(SHUTDOWN_TIMEOUT_SECONDS)


def _shut_down(tracers: TracerProvider, meters: MeterProvider) -> None:
    tracers.shutdown()
    meters.shutdown()


def _readers(*, export: bool, serve_metrics: bool) -> Generator[MetricReader]:
    if export:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - if enabled
            OTLPMetricExporter,
        )

        yield PeriodicExportingMetricReader(OTLPMetricExporter())
    if serve_metrics:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 - as above

        yield PrometheusMetricReader()


def render_metrics() -> tuple[bytes, str]:
    """Return the metrics in the text format of Prometheus, and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - as above

    return generate_latest(), CONTENT_TYPE_LATEST
