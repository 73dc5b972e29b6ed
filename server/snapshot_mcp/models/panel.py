"""What the tools of the panel answer."""

from datetime import datetime

from pydantic import Field

from snapshot_mcp.models.cloud import FrozenModel, SnapshotState
from snapshot_mcp.models.retention import RetentionReport
from snapshot_mcp.models.snapshots import DeleteResult, RestoreResult


class PanelSnapshot(FrozenModel):
    """What the panel's timeline shows of one snapshot."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    state: SnapshotState = Field(description="What its status means")
    status: str | None = Field(
        default=None, description="Status as the cloud says it, if state is unknown"
    )
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    vm_gone: bool | None = Field(default=None, description="The source VM is deleted")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    labels: tuple[str, ...] | None = Field(default=None, description="Labels of the snapshot")
    protected: str | None = Field(default=None, description="Why the policy keeps it")
    derived_image: str | None = Field(
        default=None, description="Image that is deleted together with it"
    )


class PanelSnapshots(FrozenModel):
    """The answer of panel_snapshots, newest first."""

    snapshots: tuple[PanelSnapshot, ...] = Field(description="The newest of them")
    total: int = Field(description="Number of snapshots, with those that are not shown")
    total_size: int = Field(description="Estimated size in GB of all of them")
    actions: tuple[str, ...] = Field(description="Names of the planning tools that are offered")


class PanelVirtualMachine(FrozenModel):
    """The answer of panel_virtual_machine."""

    id: int = Field(description="Id of the VM")
    name: str = Field(description="Name of the VM")
    status: str | None = Field(default=None, description="Status as the cloud says it")
    over: bool = Field(description="It is made, or failed: nothing more is to be waited for")


class PanelCommit(FrozenModel):
    """The answer of commit_from_panel: one of these, by the tool that made the plan."""

    deletion: DeleteResult | None = Field(default=None, description="As delete_snapshot answers")
    restore: RestoreResult | None = Field(default=None, description="As restore_snapshot answers")
    retention: RetentionReport | None = Field(
        default=None, description="As apply_retention answers"
    )

    @property
    def panel_nonce(self) -> str | None:
        """The nonce of a plan that was made anew, because something changed meanwhile."""
        made_anew = self.deletion or self.restore
        return made_anew.panel_nonce if made_anew else None
