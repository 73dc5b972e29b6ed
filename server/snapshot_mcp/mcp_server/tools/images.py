"""Tools of the toolset `images`: images made from snapshots, and the history of a snapshot."""

from snapshot_mcp.mcp_server.tools.arguments import (
    Cursor,
    ImageLabels,
    ImageName,
    Limit,
    SnapshotId,
)
from snapshot_mcp.mcp_server.tools.declaration import ToolContext, declare_tool
from snapshot_mcp.mcp_server.tools.text.images import render_event_list, render_image_result
from snapshot_mcp.models.images import ImageResult, SnapshotEventList
from snapshot_mcp.operations.requests import CreateImageRequest


@declare_tool(
    title="Create an image",
    toolset="images",
    effect="adds",
    render=render_image_result,
)
async def create_image_from_snapshot(
    context: ToolContext,
    *,
    snapshot_id: SnapshotId,
    name: ImageName,
    labels: ImageLabels = [],  # noqa: B006 - a default in a schema, never mutated
) -> ImageResult:
    """Create an image from a ready snapshot, to start VMs from.

    It is deleted together with the snapshot. After "pending" or "unknown" follow next_step.
    """
    request = CreateImageRequest(snapshot_id, name, labels)
    return await (await context.operations()).create_image(request, context.approver)


@declare_tool(
    title="List snapshot events",
    toolset="images",
    effect="reads",
    render=render_event_list,
)
async def list_snapshot_events(
    context: ToolContext, *, snapshot_id: SnapshotId, limit: Limit = 20, cursor: Cursor = ""
) -> SnapshotEventList:
    """List the events of a snapshot, newest first."""
    return await (await context.operations()).queries.snapshot_events(snapshot_id, limit, cursor)


IMAGE_TOOLS = (create_image_from_snapshot, list_snapshot_events)
