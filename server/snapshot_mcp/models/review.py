"""Result of review_snapshots: totals, and findings with their first entries."""

from datetime import datetime

from pydantic import Field

from snapshot_mcp.models.cloud import FrozenModel
from snapshot_mcp.models.costs import CURRENCY

_MORE = "Number of entries not listed here"


class FoundSnapshot(FrozenModel):
    """A snapshot in a finding."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    vm_id: int | None = Field(default=None, description="Id of the source VM")


class FoundVm(FrozenModel):
    """A VM in a finding."""

    id: int = Field(description="Id of the VM")
    name: str = Field(description="Name of the VM")
    status: str | None = Field(default=None, description="Status reported by the cloud")
    created_at: datetime | None = Field(default=None, description="When it was created (UTC)")
    why_not: str | None = Field(default=None, description="Why it cannot be snapshotted")
    ready_snapshots: int = Field(description="Number of its ready snapshots")
    last_snapshot: datetime | None = Field(
        default=None, description="When its newest ready snapshot was taken (UTC)"
    )


class Growth(FrozenModel):
    """Growth of one VM's snapshots."""

    vm_id: int | None = Field(default=None, description="Id of the VM; omitted if unknown")
    vm_name: str | None = Field(default=None, description="Name of the VM")
    recent_count: int = Field(description="Snapshots of the last 30 days")
    recent_size: int = Field(description="Their estimated size in GB")
    count: int = Field(description="All its snapshots")
    size: int = Field(description="Their estimated size in GB")


class SnapshotFinding(FrozenModel):
    """A finding about snapshots."""

    count: int = Field(description="Number found")
    size: int = Field(description="Their estimated size in GB")
    snapshots: tuple[FoundSnapshot, ...] = Field(description="The largest")
    more: int = Field(description=_MORE)


class VmFinding(FrozenModel):
    """A finding about VMs."""

    count: int = Field(description="Number found")
    virtual_machines: tuple[FoundVm, ...] = Field(description="First entries")
    more: int = Field(description=_MORE)


class GrowthFinding(FrozenModel):
    """VMs whose snapshots grew."""

    count: int = Field(description="Number of VMs")
    size: int = Field(description="Their total estimated growth in GB in 30 days")
    virtual_machines: tuple[Growth, ...] = Field(description="VMs with the most growth")
    more: int = Field(description=_MORE)


class Review(FrozenModel):
    """The result of review_snapshots."""

    snapshots: int = Field(description="Number of snapshots")
    virtual_machines: int = Field(description="Number of VMs")
    size: int = Field(description="Estimated size of all snapshots in GB")
    size_not_known: int = Field(description="Snapshots of unknown size, counted as 0 GB")
    month_cost_estimate: float = Field(description="Estimated monthly price of all")
    month_spend: float | None = Field(
        default=None, description="Billed for snapshots in the last 30 days; omitted if unknown"
    )
    currency: str = Field(default=CURRENCY, description="Currency of all amounts")
    recent_days: int = Field(description="Maximum age of a recent snapshot, in days")
    vm_gone: SnapshotFinding = Field(description="Snapshots of deleted VMs")
    failed: SnapshotFinding = Field(description="Failed snapshots, which protect nothing")
    stuck: SnapshotFinding = Field(
        description="Pending for over a day: protect nothing, and can be deleted"
    )
    deleting: SnapshotFinding = Field(description="Being deleted: protect nothing")
    never_followed: SnapshotFinding = Field(
        description="Only ready snapshot of a VM, and not recent"
    )
    no_recent: VmFinding = Field(description="VMs without a recent ready snapshot")
    cannot_snapshot: VmFinding = Field(description="VMs that the cloud never snapshots")
    rehearsals: VmFinding = Field(description="VMs of rehearsals that still exist and are billed")
    growth: GrowthFinding = Field(description="Growth by VM in the last 30 days")
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )
