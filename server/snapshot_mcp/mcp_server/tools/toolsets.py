"""Toolsets: which tools are listed and callable, by name."""

from collections.abc import Callable, Collection, Mapping
from functools import cache

from mcp.server.mcpserver.tools import Tool

from snapshot_mcp.mcp_server.tools.images import image_tools
from snapshot_mcp.mcp_server.tools.retention import retention_tools
from snapshot_mcp.mcp_server.tools.review import review_tools
from snapshot_mcp.mcp_server.tools.snapshots import core_tools
from snapshot_mcp.settings.environment import TOOLSETS, Toolset

_MAKERS: Mapping[Toolset, Callable[[], list[Tool]]] = {
    "core": core_tools,
    "retention": retention_tools,
    "images": image_tools,
    "review": review_tools,
}


def all_tools(*, read_only: bool, toolsets: Collection[Toolset] = TOOLSETS) -> list[Tool]:
    """The tools of these toolsets, in the order in which they are listed.

    Args:
        read_only: leave out the tools that change something.
        toolsets: the names; the default is all.
    """
    tools = [tool for name in _MAKERS if name in toolsets for tool in _tools_of(name)]
    return [tool for tool in tools if not read_only or _reads(tool)]


@cache
def _tools_of(toolset: Toolset) -> tuple[Tool, ...]:
    """Made once a process: tools hold no state, and their schemas take long to make."""
    return tuple(_MAKERS[toolset]())


def _reads(tool: Tool) -> bool:
    return tool.annotations is not None and tool.annotations.read_only_hint is True
