"""Results of the panel's tools."""

from datetime import datetime

from pydantic import Field

from snapshot_mcp.models.cloud import FrozenModel, SnapshotState
from snapshot_mcp.models.retention import RetentionReport
from snapshot_mcp.models.snapshots import DeleteResult, RestoreResult


class PanelSnapshot(FrozenModel):
    """A snapshot in the panel's timeline."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    state: SnapshotState = Field(description="Meaning of its status")
    status: str | None = Field(
        default=None, description="Status reported by the cloud, if state is unknown"
    )
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    vm_gone: bool | None = Field(default=None, description="The source VM is deleted")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    labels: tuple[str, ...] | None = Field(default=None, description="Labels of the snapshot")
    protected: str | None = Field(default=None, description="Rule of the policy that protects it")
    derived_image: str | None = Field(
        default=None, description="Image that is deleted together with it"
    )
    image_unknown: bool | None = Field(
        default=None, description="It is unknown whether it has an image"
    )


class PanelSnapshots(FrozenModel):
    """The result of panel_snapshots, newest first."""

    snapshots: tuple[PanelSnapshot, ...] = Field(description="The newest snapshots")
    total: int = Field(description="Number of all snapshots")
    total_size: int = Field(description="Estimated size in GB of all of them")
    actions: tuple[str, ...] = Field(description="Names of the available planning tools")


class PanelVirtualMachine(FrozenModel):
    """The result of panel_virtual_machine."""

    id: int = Field(description="Id of the VM")
    name: str = Field(description="Name of the VM")
    status: str | None = Field(default=None, description="Status reported by the cloud")
    over: bool = Field(description="It is ready or failed, so waiting can stop")


class PanelCommit(FrozenModel):
    """The result of commit_from_panel: one of these, depending on the tool of the plan."""

    deletion: DeleteResult | None = Field(default=None, description="As from delete_snapshot")
    restore: RestoreResult | None = Field(default=None, description="As from restore_snapshot")
    retention: RetentionReport | None = Field(default=None, description="As from apply_retention")

    @property
    def panel_nonce(self) -> str | None:
        """The nonce of a new plan, made because the target changed."""
        new_plan = self.deletion or self.restore
        return new_plan.panel_nonce if new_plan else None
