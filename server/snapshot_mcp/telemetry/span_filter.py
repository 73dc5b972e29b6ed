"""Filter of exported spans: only known names and attributes are sent, and no untrusted text.

The SDK's own spans contain names from the client, and the texts of exceptions.
"""

import re
from collections.abc import Collection, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from opentelemetry.util.types import AttributeValue

from snapshot_mcp.telemetry.opentelemetry import SCOPE

_METHODS = re.compile(
    r"initialize|ping|server/discover|completion/complete|logging/setLevel|elicitation/create"
    r"|(tools|prompts|resources|resources/templates)/list|tools/call|prompts/get|resources/read"
    r"|resources/(un)?subscribe|subscriptions/listen"
    r"|notifications/(initialized|cancelled|progress|roots/list_changed)"
)
_WORD = re.compile(r"-?[A-Za-z0-9_.]{1,60}")
_WORD_ATTRIBUTES = frozenset(
    {
        "mcp.protocol.version",
        "gen_ai.operation.name",
        "error.type",
        "rpc.response.status_code",
    }
)


class SpanFilter(SpanExporter):
    """An exporter that removes unknown names and attributes before another one sends the spans.

    Args:
        inner: sends the spans.
        names: names of the existing tools and prompts.
    """

    def __init__(self, inner: SpanExporter, names: Collection[str]) -> None:
        self._inner = inner
        self._names = frozenset(names)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Filter and send spans."""
        return self._inner.export([self._filter(span) for span in spans])

    def shutdown(self) -> None:
        """Shut down the inner exporter."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send the remaining spans within a time limit."""
        return self._inner.force_flush(timeout_millis)

    def _filter(self, span: ReadableSpan) -> ReadableSpan:
        scope = span.instrumentation_scope
        is_own = scope is not None and scope.name == SCOPE
        attributes = dict(span.attributes or {})
        return ReadableSpan(
            name=span.name if is_own else self._filter_name(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=attributes if is_own else self._filter_attributes(attributes),
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _filter_name(self, name: str) -> str:
        method, _, target = name.partition(" ")
        if not _METHODS.fullmatch(method):
            return "mcp"
        return name if target in self._names else method

    def _filter_attributes(
        self, attributes: dict[str, AttributeValue]
    ) -> dict[str, AttributeValue]:
        known: dict[str, AttributeValue] = {}
        for name, value in attributes.items():
            text = str(value)
            is_known = (
                (name == "mcp.method.name" and _METHODS.fullmatch(text))
                or (name in ("gen_ai.tool.name", "gen_ai.prompt.name") and text in self._names)
                or (name in _WORD_ATTRIBUTES and _WORD.fullmatch(text))
            )
            if is_known:
                known[name] = value
        return known
