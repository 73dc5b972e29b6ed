"""The page of the panel as an MCP resource, and its tools hidden from clients without panels.

Source: the protocol extension `io.modelcontextprotocol/ui` (MCP Apps).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
from mcp.server.apps import APP_MIME_TYPE, client_supports_apps
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp_types import Resource, TextResourceContents

from snapshot_mcp.core.uris import PANEL_URI

PAGE = Path(__file__).with_name("panel.html")

_NO_DOMAINS: dict[str, list[str]] = {
    "connectDomains": [],
    "resourceDomains": [],
    "frameDomains": [],
    "baseUriDomains": [],
}
_META: dict[str, Any] = {"ui": {"csp": _NO_DOMAINS, "prefersBorder": True}}

PANEL_RESOURCE = Resource(
    uri=PANEL_URI,
    name="panel",
    title="Snapshots at a glance",
    description="Timeline of the snapshots of each VM, where a person can confirm plans",
    mime_type=APP_MIME_TYPE,
    _meta=_META,
)


async def read_page() -> TextResourceContents:
    """Return the page of the panel."""
    text = await anyio.Path(PAGE).read_text(encoding="utf-8")
    return TextResourceContents(uri=PANEL_URI, text=text, mime_type=APP_MIME_TYPE, _meta=_META)


class PanelToolFilter(ServerMiddleware[Any]):
    """Middleware that hides the panel's tools from clients that show no panel.

    Such a client would offer them to its model, which cannot use them.

    Args:
        names: names of the panel's tools.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Handle one request."""
        result = await call_next(ctx)
        if ctx.method != "tools/list" or not isinstance(result, dict) or client_supports_apps(ctx):
            return result
        listed = [tool for tool in result.get("tools", ()) if tool["name"] not in self._names]
        return result | {"tools": listed}
