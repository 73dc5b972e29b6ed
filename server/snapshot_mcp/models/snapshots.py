"""What the core tools answer, of snapshots and VMs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from snapshot_mcp.models.cloud import (
    FrozenModel,
    Snapshot,
    SnapshotState,
    VirtualMachine,
    snapshot_state,
)

EXPIRES_AT = "When the plan token ends (UTC)"
NEXT_STEP = "What to do next"
MAX_SHOWN_LABELS = 8
"""Labels of a snapshot in a list; inspect_snapshot shows all."""
SUMMARY_FIELDS = ("name", "status", "vm_id", "vm_name", "size", "created_at", "labels")
"""What a list shows of a snapshot, beside its id."""


class SnapshotSummary(FrozenModel):
    """One line of a list of snapshots."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    state: SnapshotState = Field(description="What the status means")
    status: str | None = Field(
        default=None, description="Status as the cloud says it, if state is unknown"
    )
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    labels: tuple[str, ...] = Field(default=(), description="Labels of the snapshot")
    more_labels: int | None = Field(default=None, description="Number of labels left out here")

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Self:
        """The summary of `snapshot`."""
        read = {name: getattr(snapshot, name) for name in SUMMARY_FIELDS}
        return cls(**summary_fields(snapshot.id, read))


def summary_fields(number: int, read: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `SnapshotSummary`, yet to be made of them.

    A long list is checked as one; to make each summary by itself would take twice as long.

    Args:
        number: the snapshot's id.
        read: what was read of it, of `SUMMARY_FIELDS`.
    """
    status, labels = read.get("status"), read.get("labels", ())
    state = snapshot_state(status)
    fields = {"name": "", **read, "id": number, "state": state}
    fields["status"] = status if state == "unknown" else None
    if len(labels) > MAX_SHOWN_LABELS:
        fields["more_labels"] = len(labels) - MAX_SHOWN_LABELS
        fields["labels"] = labels[:MAX_SHOWN_LABELS]
    return fields


class VirtualMachineSummary(FrozenModel):
    """One line of a list of VMs."""

    id: int = Field(description="Id of the VM")
    name: str = Field(description="Name of the VM")
    status: str | None = Field(default=None, description="Status as the cloud says it")
    flavor: str | None = Field(default=None, description="Name of the flavor")
    region: str | None = Field(default=None, description="Name of the region")
    can_snapshot: bool = Field(description="Whether create_snapshot would be accepted now")
    why_not: str | None = Field(default=None, description="Why it cannot be snapshotted now")

    @classmethod
    def from_virtual_machine(cls, vm: VirtualMachine, obstacle: str | None) -> Self:
        """The summary of `vm`, which cannot be snapshotted for the reason `why_not`, if any."""
        return cls(
            id=vm.id,
            name=vm.name,
            status=vm.status,
            flavor=vm.flavor.name if vm.flavor else None,
            region=vm.region,
            can_snapshot=obstacle is None,
            why_not=obstacle,
        )


class SnapshotList(FrozenModel):
    """The answer of list_snapshots."""

    snapshots: tuple[SnapshotSummary, ...] = Field(description="This page")
    total: int = Field(description="Number of snapshots that match, on all pages")
    total_size: int | None = Field(
        default=None,
        description="Estimated size in GB of all that match; left out where not all were read",
    )
    next_cursor: str = Field(description="Cursor of the next page; empty at the end")
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )


class VirtualMachineList(FrozenModel):
    """The answer of list_virtual_machines."""

    virtual_machines: tuple[VirtualMachineSummary, ...] = Field(description="This page")
    total: int = Field(description="Number of VMs that match, on all pages")
    next_cursor: str = Field(description="Cursor of the next page; empty at the end")
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )


class SnapshotDetails(FrozenModel):
    """The answer of inspect_snapshot."""

    snapshot: Snapshot = Field(description="Every attribute that the cloud tells")
    state: SnapshotState = Field(description="What the status means")
    age_days: float | None = Field(default=None, description="Days since it was taken")
    vm_gone: bool = Field(description="The source VM is deleted: the data exists nowhere else")
    last_ready_of_vm: bool | None = Field(
        default=None, description="It is the only ready snapshot of its VM"
    )
    newest_of_vm: bool | None = Field(
        default=None, description="No later snapshot of its VM is ready"
    )
    derived_image: str | None = Field(
        default=None, description="Image that is deleted together with it"
    )


class BlastRadius(FrozenModel):
    """What a destructive or billed action would touch."""

    action: str = Field(description="What would happen, in one sentence")
    snapshot_id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    state: SnapshotState = Field(description="What its status means")
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    age_days: float | None = Field(default=None, description="Days since it was taken")
    vm_gone: bool | None = Field(default=None, description="The source VM is deleted")
    last_ready_of_vm: bool | None = Field(
        default=None, description="It is the only ready snapshot of its VM"
    )
    newest_of_vm: bool | None = Field(
        default=None, description="No later snapshot of its VM is ready"
    )
    older_of_vm: int | None = Field(default=None, description="Ready snapshots of its VM before it")
    newer_of_vm: int | None = Field(default=None, description="Those after it, incremental to it")
    derived_image: str | None = Field(default=None, description="Image that would be deleted too")
    new_vm_name: str | None = Field(default=None, description="Name of the VM that would be made")
    flavor: str | None = Field(default=None, description="Flavor of the VM that would be made")
    gpus: str | None = Field(default=None, description="Its GPUs")
    region: str | None = Field(default=None, description="Its region")
    price_per_hour_estimate: float | None = Field(
        default=None, description="Estimated price per hour, in the cloud's currency"
    )
    warnings: tuple[str, ...] = Field(default=(), description="What makes this more than routine")


class Planned(FrozenModel):
    """The fields of an answer that plans and changes nothing."""

    plan: BlastRadius | None = Field(default=None, description="What would be touched")
    plan_token: str | None = Field(default=None, description="Proof of this plan, for the commit")
    confirm_with: str | None = Field(
        default=None, description="What the person must agree to in words"
    )
    expires_at: datetime | None = Field(default=None, description=EXPIRES_AT)
    next_step: str = Field(default="", description=NEXT_STEP)
    panel_nonce: str | None = Field(default=None, exclude=True, repr=False)
    """For the panel's eyes: it goes into the result's `_meta` and nowhere else."""


class CreateResult(FrozenModel):
    """The answer of create_snapshot."""

    outcome: Literal["created", "pending", "failed", "unknown"] = Field(
        description="What was seen to happen"
    )
    snapshot: SnapshotSummary | None = Field(default=None, description="The snapshot as last seen")
    next_step: str = Field(description=NEXT_STEP)


class RestoreResult(Planned):
    """The answer of restore_snapshot."""

    outcome: Literal["confirmation_required", "restored", "pending", "failed", "unknown"] = Field(
        description="What was seen to happen"
    )
    virtual_machine: VirtualMachineSummary | None = Field(
        default=None, description="The new VM as last seen"
    )
    took_seconds: float | None = Field(
        default=None, description="Seconds from the order until it was seen ACTIVE"
    )


class DeleteResult(Planned):
    """The answer of delete_snapshot."""

    outcome: Literal["confirmation_required", "deleted", "pending", "failed", "unknown"] = Field(
        description="What was seen to happen"
    )
    snapshot_id: int = Field(description="Id of the snapshot")
