"""Scopes: the permissions that tools and methods need.

A tool without an entry here needs all scopes.
"""

from collections.abc import Collection, Mapping
from typing import cast

READ = "snapshots:read"
WRITE = "snapshots:write"
DELETE = "snapshots:delete"
SCOPES = (READ, WRITE, DELETE)

SCOPE_OF_TOOL: Mapping[str, str] = {
    "list_snapshots": READ,
    "inspect_snapshot": READ,
    "list_virtual_machines": READ,
    "list_snapshot_events": READ,
    "review_snapshots": READ,
    "plan_retention": READ,
    "create_snapshot": WRITE,
    "restore_snapshot": WRITE,
    "create_image_from_snapshot": WRITE,
    "delete_snapshot": DELETE,
    "apply_retention": DELETE,
    "panel_snapshots": READ,
    "panel_virtual_machine": READ,
}

COMMIT_TOOL = "commit_from_panel"
"""The panel's tool that commits a plan of another tool, and needs the scope of that tool."""

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
        tool = _member(params, "name")
        if tool == COMMIT_TOOL:
            tool = _member(_member(params, "arguments"), "tool")
        return _scopes_of_tool(str(tool))
    return frozenset({READ}) if method.startswith(_READ_METHODS) else frozenset()


def _member(value: object, name: str) -> object:
    return cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None
