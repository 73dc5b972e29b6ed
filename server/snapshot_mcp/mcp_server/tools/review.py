"""The toolset `review`: one look at all snapshots."""

from mcp.server.mcpserver.tools import Tool

from snapshot_mcp.mcp_server.tools.arguments import (
    MostNamed,
    RecentDays,
    ToolContext,
    operations_of,
)
from snapshot_mcp.mcp_server.tools.registry import READS, make_tool
from snapshot_mcp.mcp_server.tools.text import review as review_text
from snapshot_mcp.models.review import Review


async def review_snapshots(
    ctx: ToolContext, *, recent_days: RecentDays = 7, limit: MostNamed = 10
) -> Review:
    """Find waste and gaps in all snapshots at once.

    Tells snapshots of deleted VMs, failed ones, ones never followed by another; VMs without a
    recent one, rehearsal VMs left behind; growth, totals and estimated cost.
    """
    return await (await operations_of(ctx)).reviews.review(recent_days, limit)


def review_tools() -> list[Tool]:
    """The toolset `review`, in the order in which it is listed."""
    return [make_tool(review_snapshots, review_text.review, title="Review snapshots", hints=READS)]
