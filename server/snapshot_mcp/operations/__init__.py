"""What can be done with snapshots: list, inspect, review, create once, restore, delete."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    # They import the way out and the databases: that is for the first call, not for the start.
    from snapshot_mcp.operations.changing import Changes
    from snapshot_mcp.operations.images import ImageOperations
    from snapshot_mcp.operations.panel import PanelQueries
    from snapshot_mcp.operations.queries import Queries
    from snapshot_mcp.operations.retention import RetentionOperations
    from snapshot_mcp.operations.review import ReviewOperations


class Operations(NamedTuple):
    """All that the tools can do."""

    queries: "Queries"
    changes: "Changes"
    retention: "RetentionOperations"
    images: "ImageOperations"
    reviews: "ReviewOperations"
    panel: "PanelQueries"


OperationsFactory = Callable[[], Awaitable[Operations]]
"""Gives the operations; the first call opens the connection and the databases."""
