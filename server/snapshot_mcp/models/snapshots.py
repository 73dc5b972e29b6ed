"""Results of the core tools: snapshots and VMs."""

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

EXPIRES_AT = "When the plan token expires (UTC)"
NEXT_STEP = "What to do next"
MAX_SHOWN_LABELS = 8
"""Maximum number of labels in a list; inspect_snapshot shows all."""
SUMMARY_FIELDS = ("name", "status", "vm_id", "vm_name", "size", "created_at", "labels")
"""Fields of a snapshot in a list, besides its id."""


class SnapshotSummary(FrozenModel):
    """A snapshot in a list."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    state: SnapshotState = Field(description="Meaning of the status")
    status: str | None = Field(
        default=None, description="Status reported by the cloud, if state is unknown"
    )
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    labels: tuple[str, ...] | None = Field(default=None, description="Labels of the snapshot")
    more_labels: int | None = Field(default=None, description="Number of labels omitted here")

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Self:
        """Return the summary of `snapshot`."""
        fields = {name: getattr(snapshot, name) for name in SUMMARY_FIELDS}
        return cls(**summary_fields(snapshot.id, fields))


def summary_fields(snapshot_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `SnapshotSummary`, without validating them.

    Validating a long list in one call takes half the time of validating each summary.

    Args:
        snapshot_id: the snapshot's id.
        values: the values of some of `SUMMARY_FIELDS`.
    """
    status, labels = values.get("status"), values.get("labels") or ()
    state = snapshot_state(status)
    fields = {"name": "", **values, "id": snapshot_id, "state": state}
    fields["status"] = status if state == "unknown" else None
    if len(labels) > MAX_SHOWN_LABELS:
        fields["more_labels"] = len(labels) - MAX_SHOWN_LABELS
        fields["labels"] = labels[:MAX_SHOWN_LABELS]
    return fields


class VirtualMachineSummary(FrozenModel):
    """A VM in a list."""

    id: int = Field(description="Id of the VM")
    name: str = Field(description="Name of the VM")
    status: str | None = Field(default=None, description="Status reported by the cloud")
    flavor: str | None = Field(default=None, description="Name of the flavor")
    region: str | None = Field(default=None, description="Name of the region")
    can_snapshot: bool | None = Field(
        default=None,
        description="Whether create_snapshot would be accepted now; omitted if unknown",
    )
    why_not: str | None = Field(default=None, description="Why not, or what is unknown")

    @classmethod
    def from_virtual_machine(
        cls, vm: VirtualMachine, obstacle: str | None, doubt: str | None = None
    ) -> Self:
        """Return the summary of `vm`.

        Args:
            vm: the VM.
            obstacle: why it cannot be snapshotted, or None.
            doubt: why it is unknown whether it can be snapshotted, or None.
        """
        return cls(
            id=vm.id,
            name=vm.name,
            status=vm.status,
            flavor=vm.flavor.name if vm.flavor else None,
            region=vm.region,
            can_snapshot=False if obstacle else None if doubt else True,
            why_not=obstacle or doubt,
        )


class SnapshotList(FrozenModel):
    """The result of list_snapshots."""

    snapshots: tuple[SnapshotSummary, ...] = Field(description="This page")
    total: int = Field(description="Number of snapshots that match, on all pages")
    total_size: int | None = Field(
        default=None,
        description="Estimated size in GB of all that match; omitted if not all were read",
    )
    next_cursor: str = Field(description="Cursor of the next page; empty at the end")
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )


class VirtualMachineList(FrozenModel):
    """The result of list_virtual_machines."""

    virtual_machines: tuple[VirtualMachineSummary, ...] = Field(description="This page")
    total: int = Field(description="Number of VMs that match, on all pages")
    next_cursor: str = Field(description="Cursor of the next page; empty at the end")
    unreadable: int | None = Field(
        default=None, description="Entries that could not be read, not counted"
    )


class SnapshotDetails(FrozenModel):
    """The result of inspect_snapshot."""

    snapshot: Snapshot = Field(description="All attributes from the cloud")
    state: SnapshotState = Field(description="Meaning of the status")
    age_days: float | None = Field(default=None, description="Days since it was taken")
    stuck: bool | None = Field(default=None, description="It has been pending for over a day")
    vm_gone: bool | None = Field(default=None, description="The source VM is deleted")
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
    """The effects that a destructive or billed action would have."""

    action: str = Field(description="What would happen, in one sentence")
    snapshot_id: int = Field(description="Id of the snapshot")
    name: str = Field(description="Name of the snapshot")
    state: SnapshotState = Field(description="Meaning of its status")
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
    older_of_vm: int | None = Field(
        default=None, description="Number of older ready snapshots of its VM"
    )
    newer_of_vm: int | None = Field(
        default=None, description="Number of newer ones, incremental to it"
    )
    derived_image: str | None = Field(default=None, description="Image that would be deleted too")
    image_vms: tuple[str, ...] | None = Field(
        default=None, description="VMs that use that image; omitted if unknown"
    )
    new_vm_name: str | None = Field(
        default=None, description="Name of the VM that would be created"
    )
    flavor: str | None = Field(default=None, description="Flavor of the VM that would be created")
    gpus: str | None = Field(default=None, description="Its GPUs")
    region: str | None = Field(default=None, description="Its region")
    price_per_hour_estimate: float | None = Field(
        default=None, description="Estimated price per hour, without discounts of a contract"
    )
    currency: str | None = Field(default=None, description="Currency of the price and the credit")
    contract: str | None = Field(default=None, description="Contract of the VM, or none")
    credit: float | None = Field(default=None, description="Credit of the account")
    free_gpus: int | None = Field(
        default=None, description="GPUs of this model that are free in the region"
    )
    warnings: tuple[str, ...] = Field(default=(), description="Reasons for caution")


class Planned(FrozenModel):
    """Fields of a result that plans and changes nothing."""

    plan: BlastRadius | None = Field(default=None, description="What would be affected")
    plan_token: str | None = Field(default=None, description="Token of this plan, for the commit")
    confirm_with: str | None = Field(default=None, description="Words that the person must type")
    expires_at: datetime | None = Field(default=None, description=EXPIRES_AT)
    next_step: str = Field(default="", description=NEXT_STEP)
    panel_nonce: str | None = Field(default=None, exclude=True, repr=False)
    """For the panel only: sent in the result's `_meta` and nowhere else."""


class CreateResult(FrozenModel):
    """The result of create_snapshot."""

    outcome: Literal["created", "pending", "failed", "unknown"] = Field(
        description="Observed result"
    )
    snapshot: SnapshotSummary | None = Field(default=None, description="Last observed state")
    repeated: bool | None = Field(
        default=None, description="An equal call made it before; nothing was sent now"
    )
    labels_stored: bool | None = Field(
        default=None, description="Whether the cloud stored all labels, if that is known"
    )
    vm_status: str | None = Field(
        default=None, description="Status of the VM afterwards, if the snapshot interrupted it"
    )
    next_step: str = Field(description=NEXT_STEP)


class RestoreResult(Planned):
    """The result of restore_snapshot."""

    outcome: Literal["confirmation_required", "restored", "pending", "failed", "unknown"] = Field(
        description="Observed result"
    )
    virtual_machine: VirtualMachineSummary | None = Field(
        default=None, description="The new VM, last observed state"
    )
    took_seconds: float | None = Field(
        default=None, description="Seconds from the request until it was ACTIVE"
    )


class DeleteResult(Planned):
    """The result of delete_snapshot."""

    outcome: Literal["confirmation_required", "deleted", "pending", "failed", "unknown"] = Field(
        description="Observed result"
    )
    snapshot_id: int = Field(description="Id of the snapshot")
