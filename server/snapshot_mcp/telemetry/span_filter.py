"""What leaves in a span: what we know, and nothing that clients or the cloud wrote.

The SDK's own spans carry the names that a client gave, and the texts of exceptions.
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
_WORDS = frozenset(
    {
        "mcp.protocol.version",
        "gen_ai.operation.name",
        "error.type",
        "rpc.response.status_code",
    }
)


class SpanFilter(SpanExporter):
    """Passes spans on without what is not known to be ours.

    Args:
        inner: sends them.
        names: the names of tools and prompts that there are.
    """

    def __init__(self, inner: SpanExporter, names: Collection[str]) -> None:
        self._inner = inner
        self._names = frozenset(names)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some spans."""
        return self._inner.export([self._cleaned(span) for span in spans])

    def shutdown(self) -> None:
        """Send nothing more."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is left, within some milliseconds."""
        return self._inner.force_flush(timeout_millis)

    def _cleaned(self, span: ReadableSpan) -> ReadableSpan:
        ours = span.instrumentation_scope is not None and span.instrumentation_scope.name == SCOPE
        attributes = dict(span.attributes or {})
        return ReadableSpan(
            name=span.name if ours else self._name(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=attributes if ours else self._kept(attributes),
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _name(self, name: str) -> str:
        method, _, target = name.partition(" ")
        if not _METHODS.fullmatch(method):
            return "mcp"
        return name if target in self._names else method

    def _kept(self, attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
        kept: dict[str, AttributeValue] = {}
        for name, value in attributes.items():
            text = str(value)
            known = (
                (name == "mcp.method.name" and _METHODS.fullmatch(text))
                or (name in ("gen_ai.tool.name", "gen_ai.prompt.name") and text in self._names)
                or (name in _WORDS and _WORD.fullmatch(text))
            )
            if known:
                kept[name] = value
        return kept
