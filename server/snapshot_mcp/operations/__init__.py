"""The operations behind the tools: list, inspect, review, create, restore, delete, tidy up."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    # These import the cloud client and the databases, which a start does not need.
    from snapshot_mcp.consent.evidence import Approver
    from snapshot_mcp.models.images import ImageResult
    from snapshot_mcp.models.rehearsals import DeleteRehearsalVmResult
    from snapshot_mcp.models.snapshots import CreateResult, DeleteResult, RestoreResult
    from snapshot_mcp.operations.panel import PanelQueries
    from snapshot_mcp.operations.queries import Queries
    from snapshot_mcp.operations.requests import (
        Commit,
        CreateImageRequest,
        CreateSnapshotRequest,
        RestoreSnapshotRequest,
    )
    from snapshot_mcp.operations.retention import RetentionOperations
    from snapshot_mcp.operations.review import ReviewOperations


class Operations(NamedTuple):
    """The operations that the tools call. Each write is a function in a module of its own.

    `settle_again` runs before each operation: it checks writes whose outcome is not known yet.
    """

    queries: "Queries"
    create_snapshot: "Callable[[CreateSnapshotRequest, int, Approver], Awaitable[CreateResult]]"
    restore_snapshot: (
        "Callable[[RestoreSnapshotRequest, Commit, int, Approver], Awaitable[RestoreResult]]"
    )
    delete_snapshot: "Callable[[int, Commit, Approver], Awaitable[DeleteResult]]"
    delete_rehearsal_vm: "Callable[[int, Commit, Approver], Awaitable[DeleteRehearsalVmResult]]"
    create_image: "Callable[[CreateImageRequest, Approver], Awaitable[ImageResult]]"
    retention: "RetentionOperations"
    reviews: "ReviewOperations"
    panel: "PanelQueries"
    settle_again: Callable[[], Awaitable[None]]


OperationsFactory = Callable[[], Awaitable[Operations]]
"""Returns the operations. The first call opens the connection to the cloud and the databases."""
