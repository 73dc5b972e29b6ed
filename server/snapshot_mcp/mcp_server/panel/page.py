"""The page of the panel as an MCP resource.

Source: the protocol extension `io.modelcontextprotocol/ui` (MCP Apps).
"""

from pathlib import Path
from typing import Any

import anyio
from mcp.server.apps import APP_MIME_TYPE
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
