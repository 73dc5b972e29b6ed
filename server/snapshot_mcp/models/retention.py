"""Results of the retention tools: a plan of deletions, and a report."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from snapshot_mcp.models.cloud import FrozenModel, SnapshotState
from snapshot_mcp.models.costs import CURRENCY


class RetentionDecision(FrozenModel):
    """The decision about one snapshot."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    state: SnapshotState = Field(description="Meaning of its status")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    keep: bool = Field(description="False: this plan deletes it")
    reasons: tuple[str, ...] = Field(description="Why")
    group: str = Field(description="Group in which it was counted")


class RetentionPlan(FrozenModel):
    """The result of plan_retention; only the first page has the plan token."""

    outcome: Literal["confirmation_required", "nothing_to_delete"] = Field(
        description="Whether there is something to confirm"
    )
    decisions: tuple[RetentionDecision, ...] = Field(
        description="This page; deletions first, oldest first"
    )
    next_cursor: str = Field(description="Cursor of the next page; empty at the end")
    total: int = Field(description="Number of decisions")
    keep_count: int = Field(description="How many are kept")
    delete_count: int = Field(description="How many this plan deletes")
    left_for_later: int | None = Field(
        default=None, description="Of those kept: how many a later plan may delete"
    )
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )
    reclaimed_gb: int = Field(description="Estimated size in GB of what is deleted")
    saved_per_month_estimate: float = Field(description="Estimated monthly cost of that")
    currency: str = Field(default=CURRENCY, description="Currency of that cost")
    plan_token: str | None = Field(default=None, description="Token of this plan, for the commit")
    confirm_with: str | None = Field(default=None, description="Words that the person must type")
    expires_at: datetime | None = Field(
        default=None, description="When the plan token expires (UTC)"
    )
    next_step: str = Field(description="What to do next")
    panel_nonce: str | None = Field(default=None, exclude=True, repr=False)
    """As in `snapshots.Planned`."""


class NamedSnapshot(FrozenModel):
    """The id and name of a snapshot."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")


class SkippedSnapshot(NamedSnapshot):
    """A snapshot of the plan that was not deleted."""

    why: str = Field(description="Reason")


class RetentionReport(FrozenModel):
    """The result of apply_retention: each snapshot of the plan is in one of its lists."""

    outcome: Literal["applied", "stopped", "nothing_done"] = Field(
        description="Observed result; stopped: incomplete"
    )
    deleted: tuple[NamedSnapshot, ...] = Field(description="Observed to be gone")
    pending: tuple[NamedSnapshot, ...] = Field(
        default=(), description="Deletion accepted, not yet observed to be gone"
    )
    unknown: tuple[NamedSnapshot, ...] = Field(
        default=(), description="Sent, result unknown: check first"
    )
    skipped: tuple[SkippedSnapshot, ...] = Field(description="Not deleted, and why")
    not_attempted: tuple[int, ...] = Field(description="Ids of the others, unchanged")
    reclaimed_gb: int = Field(description="Estimated size in GB of what is gone")
    next_step: str = Field(description="What to do next")
