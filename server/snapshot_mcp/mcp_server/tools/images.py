"""The toolset `images`: images of snapshots, and what happened to a snapshot."""

from mcp.server.mcpserver.tools import Tool

from snapshot_mcp.mcp_server.elicitation import ClientApprover
from snapshot_mcp.mcp_server.tools.arguments import (
    Cursor,
    ImageLabels,
    ImageName,
    Limit,
    SnapshotId,
    ToolContext,
    operations_of,
)
from snapshot_mcp.mcp_server.tools.registry import ADDS, READS, make_tool
from snapshot_mcp.mcp_server.tools.text import images as image_text
from snapshot_mcp.models.images import ImageResult, SnapshotEventList
from snapshot_mcp.operations.requests import CreateImageRequest


async def create_image_from_snapshot(
    ctx: ToolContext,
    *,
    snapshot_id: SnapshotId,
    name: ImageName,
    labels: ImageLabels = [],  # noqa: B006 - becomes a default in a schema, never mutated
) -> ImageResult:
    """Make an image of a ready snapshot, to start VMs from.

    It is deleted together with the snapshot. After "pending" or "unknown" follow next_step.
    """
    request = CreateImageRequest(snapshot_id, name, labels)
    return await (await operations_of(ctx)).create_image(request, ClientApprover(ctx))


async def list_snapshot_events(
    ctx: ToolContext, *, snapshot_id: SnapshotId, limit: Limit = 20, cursor: Cursor = ""
) -> SnapshotEventList:
    """Show what happened to a snapshot, newest first."""
    return await (await operations_of(ctx)).queries.snapshot_events(snapshot_id, limit, cursor)


def image_tools() -> list[Tool]:
    """The toolset `images`, in the order in which it is listed."""
    return [
        make_tool(
            create_image_from_snapshot,
            image_text.image_result,
            title="Create an image",
            hints=ADDS,
        ),
        make_tool(
            list_snapshot_events, image_text.event_list, title="List snapshot events", hints=READS
        ),
    ]
