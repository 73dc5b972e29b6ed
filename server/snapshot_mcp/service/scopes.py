"""Which scope a request needs. A tool that is not named here needs all that there are."""

from collections.abc import Mapping
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
}

_READING = ("resources/", "prompts/", "completion/", "subscriptions/")


def scopes_of_tool(tool: str) -> frozenset[str]:
    """The scopes that a call of this tool needs."""
    return frozenset({SCOPE_OF_TOOL[tool]} if tool in SCOPE_OF_TOOL else SCOPES)


def scopes_needed(method: str, params: object) -> frozenset[str]:
    """The scopes that a request needs; none for what tells nothing of the cloud.

    Args:
        method: of the JSON-RPC message.
        params: its parameters, as they came.
    """
    if method == "tools/call":
        named = isinstance(params, Mapping) and cast("Mapping[str, object]", params).get("name")
        return scopes_of_tool(str(named))
    return frozenset({READ}) if method.startswith(_READING) else frozenset()
