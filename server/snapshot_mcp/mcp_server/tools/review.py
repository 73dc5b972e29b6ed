"""The tool of the toolset `review`: a report on all snapshots."""

from snapshot_mcp.mcp_server.tools.arguments import (
    FindingLimit,
    RecentDays,
)
from snapshot_mcp.mcp_server.tools.declaration import ToolContext, declare_tool
from snapshot_mcp.mcp_server.tools.text.review import render_review
from snapshot_mcp.models.review import Review


@declare_tool(
    title="Review snapshots",
    toolset="review",
    effect="reads",
    render=render_review,
)
async def review_snapshots(
    context: ToolContext, *, recent_days: RecentDays = 7, limit: FindingLimit = 10
) -> Review:
    """Report waste and gaps across all snapshots.

    Lists snapshots of deleted VMs, failed, stuck and deleting ones, ones never followed by another;
    VMs without a recent one, rehearsal VMs left behind; growth, totals and estimated cost.
    """
    return await (await context.operations()).reviews.review(recent_days, limit)


REVIEW_TOOLS = (review_snapshots,)
