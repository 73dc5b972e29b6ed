"""What makes a client show the panel: the resource, the tools it belongs to, and the extension.

Source: the extension `io.modelcontextprotocol/ui` of the protocol (MCP Apps).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mcp.server.apps import APP_MIME_TYPE, Apps, client_supports_apps
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.mcpserver.resources import FileResource
from mcp.server.mcpserver.tools import Tool

from snapshot_mcp.core.uris import PANEL_URI

PAGE = Path(__file__).with_name("panel.html")
PANEL_TOOLS = frozenset(
    {
        *("list_snapshots", "inspect_snapshot", "create_snapshot", "restore_snapshot"),
        *("delete_snapshot", "plan_retention", "apply_retention"),
    }
)
"""The tools whose calls a client shows the panel for."""

_NOTHING_FROM_OUTSIDE: dict[str, list[str]] = {
    "connectDomains": [],
    "resourceDomains": [],
    "frameDomains": [],
    "baseUriDomains": [],
}


def panel_extension() -> Apps:
    """The extension with the panel's page. The page is read when somebody asks for it."""
    apps = Apps()
    apps.add_resource(
        FileResource(
            uri=PANEL_URI,
            name="panel",
            title="Snapshots at a glance",
            description="The snapshots of each VM in time, and where a person agrees to plans",
            mime_type=APP_MIME_TYPE,
            encoding="utf-8",
            meta={"ui": {"csp": _NOTHING_FROM_OUTSIDE, "prefersBorder": True}},
            path=PAGE,
        )
    )
    return apps


def mark_panel_tools(tools: Iterable[Tool]) -> list[Tool]:
    """The tools, of which some are marked as those that the panel is shown for."""
    meta: dict[str, Any] = {"ui": {"resourceUri": PANEL_URI, "visibility": ["model", "app"]}}
    return [
        tool.model_copy(update={"meta": meta}) if tool.name in PANEL_TOOLS else tool
        for tool in tools
    ]


def mark_panel_only(tool: Tool) -> Tool:
    """The tool, marked as one that a client hides from the model."""
    meta: dict[str, Any] = {"ui": {"resourceUri": PANEL_URI, "visibility": ["app"]}}
    return tool.model_copy(update={"meta": meta})


class PanelToolFilter(ServerMiddleware[Any]):
    """Keeps the tools of the panel out of the lists of clients that show no panel.

    Such a client would give them to its model, which has no use for them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Answer one request."""
        result = await call_next(ctx)
        if ctx.method != "tools/list" or not isinstance(result, dict) or client_supports_apps(ctx):
            return result
        listed = [tool for tool in result.get("tools", ()) if tool["name"] not in self._names]
        return result | {"tools": listed}
