"""Scopes: the permissions that tools and methods need.

A tool without an entry here needs all scopes.
"""

from collections.abc import Collection, Mapping
from typing import cast

from snapshot_mcp.mcp_server.panel.tools import PANEL_TOOLS, commit_from_panel
from snapshot_mcp.mcp_server.tools.declaration import Effect
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS

READ = "snapshots:read"
WRITE = "snapshots:write"
DELETE = "snapshots:delete"
SCOPES = (READ, WRITE, DELETE)

COMMIT_TOOL = commit_from_panel.name
"""The panel's tool that commits the plan of another tool, and needs the scope of that tool."""

_SCOPE_OF_EFFECT: Mapping[Effect, str] = {"reads": READ, "adds": WRITE, "destroys": DELETE}

SCOPE_OF_TOOL: Mapping[str, str] = {
    tool.name: _SCOPE_OF_EFFECT[tool.effect]
    for tool in (*TOOLS, *PANEL_TOOLS)
    if tool is not commit_from_panel
}

_READ_METHODS = ("resources/", "prompts/", "completion/", "subscriptions/")


def is_listed(tool: str, granted: Collection[str]) -> bool:
    """Return whether a caller with the scopes `granted` can use this tool."""
    if tool == COMMIT_TOOL:
        return WRITE in granted or DELETE in granted
    return _scopes_of_tool(tool) <= set(granted)


def _scopes_of_tool(tool: str) -> frozenset[str]:
    return frozenset({SCOPE_OF_TOOL[tool]} if tool in SCOPE_OF_TOOL else SCOPES)


def required_scopes(method: str, params: object) -> frozenset[str]:
    """Return the scopes that a request needs; none if it reveals nothing about the cloud.

    Args:
        method: the method of the JSON-RPC message.
        params: its parameters, not validated.
    """
    if method == "tools/call":
        tool = read_member(params, "name")
        if tool == COMMIT_TOOL:
            tool = read_member(read_member(params, "arguments"), "tool")
        return _scopes_of_tool(str(tool))
    return frozenset({READ}) if method.startswith(_READ_METHODS) else frozenset()


def read_member(value: object, name: str) -> object:
    """Return one member of a JSON object; None if it has none, or if the value is no object."""
    return cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None
