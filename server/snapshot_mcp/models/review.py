"""What review_snapshots answers: totals, and findings that name their first entries each."""

from datetime import datetime

from pydantic import Field

from snapshot_mcp.models.cloud import FrozenModel

_MORE = "How many more there are, not named here"


class FoundSnapshot(FrozenModel):
    """A snapshot that a finding names."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    vm_id: int | None = Field(default=None, description="Id of the source VM")


class FoundVm(FrozenModel):
    """A VM that a finding names."""

    id: int = Field(description="Id of the VM")
    name: str = Field(description="Name of the VM")
    status: str | None = Field(default=None, description="Status as the cloud says it")
    created_at: datetime | None = Field(default=None, description="When it was made (UTC)")
    ready_snapshots: int = Field(description="Number of its ready snapshots")
    last_snapshot: datetime | None = Field(
        default=None, description="When its newest ready snapshot was taken (UTC)"
    )


class Growth(FrozenModel):
    """What the snapshots of one VM came to."""

    vm_id: int | None = Field(default=None, description="Id of the VM; left out if not known")
    vm_name: str | None = Field(default=None, description="Name of the VM")
    recent_count: int = Field(description="Snapshots of the last 30 days")
    recent_size: int = Field(description="Their estimated size in GB")
    count: int = Field(description="All its snapshots")
    size: int = Field(description="Their estimated size in GB")


class SnapshotFinding(FrozenModel):
    """Snapshots of which the same is to be said."""

    count: int = Field(description="How many there are")
    size: int = Field(description="Their estimated size in GB")
    snapshots: tuple[FoundSnapshot, ...] = Field(description="The largest")
    more: int = Field(description=_MORE)


class VmFinding(FrozenModel):
    """VMs of which the same is to be said."""

    count: int = Field(description="How many there are")
    virtual_machines: tuple[FoundVm, ...] = Field(description="The first of them")
    more: int = Field(description=_MORE)


class GrowthFinding(FrozenModel):
    """The VMs whose snapshots grew."""

    count: int = Field(description="How many VMs grew")
    size: int = Field(description="Estimated GB by which all of them grew in 30 days")
    virtual_machines: tuple[Growth, ...] = Field(description="Those that grew most")
    more: int = Field(description=_MORE)


class Review(FrozenModel):
    """The answer of review_snapshots."""

    snapshots: int = Field(description="Number of snapshots")
    virtual_machines: int = Field(description="Number of VMs")
    size: int = Field(description="Estimated size of all snapshots in GB")
    size_not_known: int = Field(description="Snapshots of unknown size, counted as 0 GB")
    month_cost_estimate: float = Field(
        description="Estimated price of all a month, in the cloud's currency"
    )
    recent_days: int = Field(description="What recent means here, in days")
    vm_gone: SnapshotFinding = Field(description="Snapshots of VMs that are deleted")
    failed: SnapshotFinding = Field(description="Failed ones, which protect nothing")
    never_followed: SnapshotFinding = Field(
        description="The only ready one of a VM, not recent and never followed by another"
    )
    no_recent: VmFinding = Field(description="VMs without a recent ready snapshot")
    rehearsals: VmFinding = Field(description="VMs of rehearsals that are still there, billed")
    growth: GrowthFinding = Field(description="Growth by VM in the last 30 days")
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )
