"""Entities of the embedded cloud, and their construction from database rows.

Times are aware UTC datetimes, and JSON columns are decoded.
"""

import json
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from snapshot_mcp.sandbox import lifecycle

Json = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(time: datetime) -> int:
    """Return a time as microseconds since 1970, which sort and compare exactly in SQL."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the time for microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


@dataclass(frozen=True)
class VmConfig:
    """The configuration of a VM, which its snapshots keep and restored VMs get.

    Attributes:
        environment: the API's object, as are flavor, image and keypair.
        volume_gb: size of the disk from which the VM starts.
        region_id: id of the region.
        security_rules: the firewall rules of the VM.
        enhanced_metrics: whether enhanced metrics are collected.
    """

    environment: Json
    flavor: Json
    image: Json
    keypair: Json
    volume_gb: int
    region_id: int
    security_rules: list[Json] = field(default_factory=list[Json])
    enhanced_metrics: bool = False

    @property
    def has_bootable_volume(self) -> bool:
        """Whether the VM starts from a volume, as it needs more space than its flavor has."""
        return self.volume_gb > self.flavor["disk"]


@dataclass(frozen=True)
class Vm:
    """A virtual machine."""

    id: int
    name: str
    config: VmConfig
    times: lifecycle.VmTimes
    labels: list[str]
    floating_ip: str | None = None
    contract_id: int | None = None


@dataclass(frozen=True)
class VmQuery:
    """The VMs to list; by default all.

    Attributes:
        search: case-folded part of the name.
        environment: part of the name of the environment, in any case.
        exact: whether `environment` is the complete name.
        contract: id of the contract.
    """

    search: str = ""
    environment: str | None = None
    exact: bool = False
    contract: int | None = None


@dataclass(frozen=True)
class Image:
    """A custom image, created from a snapshot."""

    id: int
    snapshot_id: int
    name: str
    labels: list[str]
    created_at: datetime


@dataclass(frozen=True)
class Snapshot:
    """A snapshot.

    Attributes:
        started_at: start of its creation.
        size_gb: size when it is ready.
        final_status: status after its creation.
        modified_at: last change that a caller made; None if there is none.
        image: the image created from it, if any.
        vm_times: the state of its VM; None if the VM is deleted.
        deleted_at: start of its deletion.
    """

    id: int
    name: str
    description: str
    labels: list[str]
    vm_id: int
    vm_name: str
    config: VmConfig
    has_floating_ip: bool
    started_at: datetime
    size_gb: int
    final_status: str = "SUCCESS"
    modified_at: datetime | None = None
    image: Image | None = None
    vm_times: lifecycle.VmTimes | None = None
    deleted_at: datetime | None = None

    def status(self, now: datetime) -> str:
        """Return its status at a time."""
        if self.deleted_at is not None:
            return "DELETING"
        return lifecycle.snapshot_status(self.started_at, self.size_gb, self.final_status, now)


@dataclass(frozen=True)
class Event:
    """An event of a snapshot or a VM; its time may be in the future."""

    time: datetime
    type: str
    reason: str
    message: str
    id: int = 0


def vm_from_row(row: sqlite3.Row) -> Vm:
    """Return the VM of a row."""
    return Vm(
        id=row["id"],
        name=row["name"],
        config=VmConfig(**json.loads(row["config"])),
        times=replace(_vm_times_from_row(row), deleted_at=_optional_time(row["deleted"])),
        labels=json.loads(row["labels"]),
        floating_ip=row["floating_ip"],
        contract_id=row["contract_id"],
    )


def snapshot_from_row(row: sqlite3.Row) -> Snapshot:
    """Return the snapshot of a row that joins its image and its VM."""
    return Snapshot(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        labels=json.loads(row["labels"]),
        vm_id=row["vm_id"],
        vm_name=row["vm_name"],
        config=VmConfig(**json.loads(row["config"])),
        has_floating_ip=bool(row["has_floating_ip"]),
        started_at=from_micros(row["began"]),
        size_gb=row["gigabytes"],
        final_status=row["outcome"],
        modified_at=_optional_time(row["touched"]),
        image=_image_from_row(row),
        vm_times=None if row["born"] is None else _vm_times_from_row(row),
        deleted_at=_optional_time(row["deleted"]),
    )


def _image_from_row(row: sqlite3.Row) -> Image | None:
    if row["image_id"] is None:
        return None
    return Image(
        id=row["image_id"],
        snapshot_id=row["id"],
        name=row["image_name"],
        labels=json.loads(row["image_labels"]),
        created_at=from_micros(row["made"]),
    )


def _vm_times_from_row(row: sqlite3.Row) -> lifecycle.VmTimes:
    return lifecycle.VmTimes(
        created_at=from_micros(row["born"]),
        idle_status=row["resting"],
        snapshot_started_at=_optional_time(row["snapshot_began"]),
        snapshot_gb=row["snapshot_gb"],
        power_phase=row["power_phase"],
        power_started_at=_optional_time(row["power_began"]),
    )


def _optional_time(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
