"""Result of delete_rehearsal_vm."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from snapshot_mcp.models.cloud import FrozenModel
from snapshot_mcp.models.snapshots import EXPIRES_AT, NEXT_STEP


class VmDeletion(FrozenModel):
    """The effects that the deletion of a rehearsal's VM would have."""

    action: str = Field(description="What would happen, in one sentence")
    vm_id: int = Field(description="Id of the VM")
    name: str = Field(description="Name of the VM")
    status: str | None = Field(default=None, description="Status reported by the cloud")
    flavor: str | None = Field(default=None, description="Flavor of the VM")
    region: str | None = Field(default=None, description="Region of the VM")
    created_at: datetime = Field(description="When the rehearsal created it (UTC)")
    age_days: float = Field(description="Days since then")
    snapshot_id: int = Field(description="Id of the snapshot that was restored, which is kept")
    saved_per_hour_estimate: float | None = Field(
        default=None, description="Estimated price per hour, in US dollars"
    )
    warnings: tuple[str, ...] = Field(default=(), description="Reasons for caution")


class DeleteRehearsalVmResult(FrozenModel):
    """The result of delete_rehearsal_vm; the fields of a plan are those of `Planned`."""

    outcome: Literal["confirmation_required", "deleted", "pending", "failed", "unknown"] = Field(
        description="Observed result"
    )
    vm_id: int = Field(description="Id of the VM")
    plan: VmDeletion | None = Field(default=None, description="What would be affected")
    plan_token: str | None = Field(default=None, description="Token of this plan, for the commit")
    confirm_with: str | None = Field(default=None, description="Words that the person must type")
    expires_at: datetime | None = Field(default=None, description=EXPIRES_AT)
    next_step: str = Field(default="", description=NEXT_STEP)
    panel_nonce: str | None = Field(default=None, exclude=True, repr=False)
    """As in `snapshots.Planned`."""
