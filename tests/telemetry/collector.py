"""An OpenTelemetry collector on a port of 127.0.0.1 that stores what it receives."""

import gzip
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

import uvicorn
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.waiting import ANSWER_TIMEOUT_SECONDS


class Span(NamedTuple):
    """A received span."""

    name: str
    scope: str
    id: bytes
    parent: bytes
    trace: bytes
    attributes: dict[str, str | int]
    failed: bool


class Collector:
    """The received spans and metrics."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.spans: list[Span] = []
        self.metrics: set[str] = set()
        self.url = ""

    async def receive_spans(self, request: Request) -> Response:
        for resource in ExportTraceServiceRequest.FromString(
            await self._body(request)
        ).resource_spans:
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        span.name,
                        scope.scope.name,
                        span.span_id,
                        span.parent_span_id,
                        span.trace_id,
                        dict(map(_pair, span.attributes)),
                        span.status.code == span.status.STATUS_CODE_ERROR,
                    )
                    for span in scope.spans
                ]
        return Response(media_type="application/x-protobuf")

    async def receive_metrics(self, request: Request) -> Response:
        parsed = ExportMetricsServiceRequest.FromString(await self._body(request))
        for resource in parsed.resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics |= {metric.name for metric in scope.metrics}
        return Response(media_type="application/x-protobuf")

    async def _body(self, request: Request) -> bytes:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw.append(body)
        return body


def _pair(attribute: KeyValue) -> tuple[str, str | int]:
    value = attribute.value
    return attribute.key, value.string_value or value.int_value


@contextmanager
def running_collector() -> Generator[Collector]:
    """Run a collector."""
    collector = Collector()
    routes = [
        Route("/v1/traces", collector.receive_spans, methods=["POST"]),
        Route("/v1/metrics", collector.receive_metrics, methods=["POST"]),
    ]
    listener = socket.create_server(("127.0.0.1", 0))
    collector.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.should_exit = True
        thread.join(ANSWER_TIMEOUT_SECONDS)
        assert not thread.is_alive()
