"""Results of the tools for images and snapshot events."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from snapshot_mcp.models.cloud import CustomImage, FrozenModel, SnapshotEvent
from snapshot_mcp.models.snapshots import NEXT_STEP


class ImageSummary(FrozenModel):
    """An image made from a snapshot."""

    id: int | None = Field(default=None, description="Id of the image")
    name: str = Field(description="Name of the image")
    region: str | None = Field(default=None, description="Name of the region")
    created_at: datetime | None = Field(default=None, description="When it was created (UTC)")
    labels: tuple[str, ...] = Field(default=(), description="Labels of the image")

    @classmethod
    def from_image(cls, image: CustomImage) -> Self:
        """Return the summary of `image`."""
        return cls(
            id=image.id,
            name=image.name or "",
            region=image.region_name,
            created_at=image.created_at,
            labels=image.labels or (),
        )


class ImageResult(FrozenModel):
    """The result of create_image_from_snapshot."""

    outcome: Literal["created", "pending", "failed", "unknown"] = Field(
        description="Observed result"
    )
    snapshot_id: int = Field(description="Id of the snapshot")
    image: ImageSummary | None = Field(default=None, description="Last observed state")
    labels_stored: bool | None = Field(
        default=None, description="Whether the cloud stored all labels, if that is known"
    )
    next_step: str = Field(description=NEXT_STEP)


class SnapshotEventList(FrozenModel):
    """The result of list_snapshot_events."""

    snapshot_id: int = Field(description="Id of the snapshot")
    events: tuple[SnapshotEvent, ...] = Field(description="This page, newest first")
    total: int = Field(description="Number of events, on all pages")
    next_cursor: str = Field(description="Cursor of the next page; empty at the end")
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )
