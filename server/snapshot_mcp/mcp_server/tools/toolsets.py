"""Toolsets: all tools that a model can call, and those that the settings select."""

from collections.abc import Collection

from snapshot_mcp.mcp_server.tools.declaration import ToolDeclaration
from snapshot_mcp.mcp_server.tools.images import IMAGE_TOOLS
from snapshot_mcp.mcp_server.tools.retention import RETENTION_TOOLS
from snapshot_mcp.mcp_server.tools.review import REVIEW_TOOLS
from snapshot_mcp.mcp_server.tools.snapshots import CORE_TOOLS
from snapshot_mcp.settings.environment import TOOLSETS, Toolset

TOOLS: tuple[ToolDeclaration, ...] = (*CORE_TOOLS, *RETENTION_TOOLS, *IMAGE_TOOLS, *REVIEW_TOOLS)
"""All tools that a model can call, in the order in which they are listed."""


def select_tools(
    *, read_only: bool = False, toolsets: Collection[Toolset] = TOOLSETS
) -> list[ToolDeclaration]:
    """Return the tools of these toolsets, in the order in which they are listed.

    Args:
        read_only: leave out the tools that change something.
        toolsets: names of the toolsets.
    """
    return [
        tool
        for tool in TOOLS
        if tool.toolset in toolsets and (tool.effect == "reads" or not read_only)
    ]
