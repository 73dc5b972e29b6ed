"""What the tools of retention answer: a plan of many deletions, and what became of it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from snapshot_mcp.models.cloud import FrozenModel, SnapshotState


class RetentionDecision(FrozenModel):
    """What becomes of one snapshot, and why."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    state: SnapshotState = Field(description="What its status means")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    keep: bool = Field(description="Whether it stays; false: this plan deletes it")
    reasons: tuple[str, ...] = Field(description="Why")
    group: str = Field(description="The group in which it was counted")


class RetentionPlan(FrozenModel):
    """The answer of plan_retention; only the first page has the plan's token."""

    outcome: Literal["confirmation_required", "nothing_to_delete"] = Field(
        description="Whether there is something to agree to"
    )
    decisions: tuple[RetentionDecision, ...] = Field(
        description="This page; what is deleted comes first, oldest first"
    )
    next_cursor: str = Field(description="Cursor of the next page; empty at the end")
    total: int = Field(description="Number of snapshots that were decided on")
    keep_count: int = Field(description="How many stay")
    delete_count: int = Field(description="How many this plan deletes")
    left_for_later: int | None = Field(
        default=None, description="Of those that stay: how many a later plan may delete"
    )
    reclaimed_gb: int = Field(description="Estimated size in GB of what is deleted")
    saved_per_month_estimate: float = Field(
        description="Estimated cost of that a month, in the cloud's currency"
    )
    plan_token: str | None = Field(default=None, description="Proof of this plan, for the commit")
    confirm_with: str | None = Field(
        default=None, description="What the person must agree to in words"
    )
    expires_at: datetime | None = Field(default=None, description="When the plan token ends (UTC)")
    next_step: str = Field(description="What to do next")
    panel_nonce: str | None = Field(default=None, exclude=True, repr=False)
    """As in `answers.Planned`."""


class NamedSnapshot(FrozenModel):
    """A snapshot of which only the name is told."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")


class SkippedSnapshot(NamedSnapshot):
    """A snapshot of the plan that was not deleted."""

    why: str = Field(description="Why it was left out")


class RetentionReport(FrozenModel):
    """The answer of apply_retention: every snapshot of the plan stands in one of its lists."""

    outcome: Literal["applied", "stopped", "nothing_done"] = Field(
        description="What was seen to happen; stopped: not to the end"
    )
    deleted: tuple[NamedSnapshot, ...] = Field(description="Seen to be gone")
    pending: tuple[NamedSnapshot, ...] = Field(
        default=(), description="The cloud accepted their deletion, not yet seen to be gone"
    )
    unknown: tuple[NamedSnapshot, ...] = Field(
        default=(), description="Sent, and what came of it is not known: look first"
    )
    skipped: tuple[SkippedSnapshot, ...] = Field(description="Not deleted, and why")
    not_attempted: tuple[int, ...] = Field(description="Ids of the others, left as they are")
    reclaimed_gb: int = Field(description="Estimated size in GB of what is gone")
    next_step: str = Field(description="What to do next")
