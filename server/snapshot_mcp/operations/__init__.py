"""What can be done with snapshots: list, inspect, review, create once, restore, delete."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    # They import the way out and the databases: that is for the first call, not for the start.
    from snapshot_mcp.operations.changing import Changes
    from snapshot_mcp.operations.images import Images
    from snapshot_mcp.operations.panel import Picture
    from snapshot_mcp.operations.queries import Views
    from snapshot_mcp.operations.retention import Retention
    from snapshot_mcp.operations.review import Reviews


class Operations(NamedTuple):
    """All that the tools can do."""

    views: "Views"
    changes: "Changes"
    retention: "Retention"
    images: "Images"
    reviews: "Reviews"
    picture: "Picture"


OpenOperations = Callable[[], Awaitable[Operations]]
"""Gives the operations; the first call opens the connection and the databases."""
