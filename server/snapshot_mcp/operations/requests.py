"""Requests to the operations: filters, sort orders, and the arguments of writes."""

from datetime import datetime
from typing import Literal, NamedTuple

from snapshot_mcp.models.cloud import SnapshotState

SortOrder = Literal["newest", "oldest", "largest"]
SuggestionKind = Literal["vm_name", "vm_id", "snapshot_name", "snapshot_id"]
"""The kind of values that a completion suggests."""
RetentionGrouping = Literal["vm", "label", "region"]


class SnapshotFilter(NamedTuple):
    """The snapshots that a list shows, and their order. An empty value does not filter.

    Attributes:
        search: a part of the name, ignoring case.
        vm_id: id of the source VM; 0 for any.
        state: the meaning of the status, or "any".
        label: a complete label, ignoring case.
        created_after: created at this time or later.
        created_before: created before this time.
        order: by time, or by size with the largest first.
    """

    search: str = ""
    vm_id: int = 0
    state: SnapshotState | Literal["any"] = "any"
    label: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    order: SortOrder = "newest"


class CreateSnapshotRequest(NamedTuple):
    """The arguments of create_snapshot.

    Attributes:
        vm_id: the VM.
        name: name of the snapshot.
        description: its purpose; may be empty.
        labels: its labels.
        allow_interruption: the person accepts that a running VM is shut off and started again.
    """

    vm_id: int
    name: str
    description: str
    labels: list[str]
    allow_interruption: bool


class RestoreSnapshotRequest(NamedTuple):
    """The arguments of restore_snapshot.

    Attributes:
        snapshot_id: the snapshot.
        new_vm_name: name of the new VM.
        contract_id: the contract that the VM is billed to; None for on demand.
        rehearsal: the restore only tests that it works, and how long it takes.
    """

    snapshot_id: int
    new_vm_name: str
    contract_id: int | None
    rehearsal: bool = False


class CreateImageRequest(NamedTuple):
    """The arguments of create_image_from_snapshot."""

    snapshot_id: int
    name: str
    labels: list[str]


class RetentionRequest(NamedTuple):
    """The arguments of plan_retention; see `rules.retention_policy` for their meaning.

    Attributes:
        keep_within: a span such as "30d"; empty for none.
        group_by: snapshots are counted separately for each VM, label or region.
        time_zone: name of the time zone in which days begin.
        vm_id: the only VM to decide on; 0 for all.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: str = ""
    keep_labels: tuple[str, ...] = ()
    group_by: RetentionGrouping = "vm"
    time_zone: str = "UTC"
    vm_id: int = 0


class Commit(NamedTuple):
    """The arguments that commit a plan; both are empty to ask for a plan."""

    plan_token: str
    confirm: str
