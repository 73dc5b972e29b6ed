"""What the operations are asked for."""

from datetime import datetime
from typing import Literal, NamedTuple

from snapshot_mcp.models.cloud import SnapshotState

SortOrder = Literal["newest", "oldest", "largest"]
SuggestionKind = Literal["vm_name", "vm_id", "snapshot_name", "snapshot_id"]
"""What can be offered to a person who types."""
RetentionGrouping = Literal["vm", "label", "region"]


class SnapshotFilter(NamedTuple):
    """Which snapshots a list shows, and in which order. An empty value does not filter.

    Attributes:
        search: a part of the name, in any case.
        vm_id: id of the source VM; 0 for any.
        state: what the status means, or "any".
        label: one whole label, in any case.
        created_after: taken at this time or later.
        created_before: taken before this time.
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
    """What a snapshot is to be made of, and what it is to be called.

    Attributes:
        vm_id: the VM.
        name: name of the snapshot.
        description: what it is for; may be empty.
        labels: its labels.
        allow_interruption: the person accepts that a running VM is shut off and started again.
    """

    vm_id: int
    name: str
    description: str
    labels: list[str]
    allow_interruption: bool


class RestoreSnapshotRequest(NamedTuple):
    """What is to be restored, and as what.

    Attributes:
        snapshot_id: the snapshot.
        new_vm_name: name of the new VM.
        contract_id: the contract that it is billed to, if any.
        rehearsal: it is only to be seen that it works, and how long it takes.
    """

    snapshot_id: int
    new_vm_name: str
    contract_id: int | None
    rehearsal: bool = False


class CreateImageRequest(NamedTuple):
    """Which snapshot an image is to be made of, and its name and labels."""

    snapshot_id: int
    name: str
    labels: list[str]


class RetentionRequest(NamedTuple):
    """What a retention policy keeps, as it was written; see `rules.retention_policy`.

    Attributes:
        keep_within: a span such as "30d"; empty for none.
        group_by: what is counted on its own.
        time_zone: name of the zone in which days begin.
        vm_id: the only VM that is looked at; 0 for all.
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
    """What is presented to carry out a plan; both empty to ask for one."""

    plan_token: str
    confirm: str
