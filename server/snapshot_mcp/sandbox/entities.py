"""What the store holds, as values: times are aware UTC datetimes, JSON columns are decoded."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from snapshot_mcp.sandbox import lifecycle

Json = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """A time as the database holds it: microseconds since 1970, which sort and compare exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The time that the database holds."""
    return _EPOCH + timedelta(microseconds=micros)


@dataclass(frozen=True)
class Config:
    """What a VM is made of; a snapshot keeps it and a restored VM gets it.

    Attributes:
        environment: the wire's object, likewise flavor, image and keypair.
        volume_gb: size of the bootable volume.
        region_id: id of the region.
    """

    environment: Json
    flavor: Json
    image: Json
    keypair: Json
    volume_gb: int
    region_id: int


@dataclass(frozen=True)
class Vm:
    """A virtual machine."""

    id: int
    name: str
    config: Config
    times: lifecycle.VmTimes
    labels: list[str]
    floating_ip: str | None = None
    contract_id: int | None = None


@dataclass(frozen=True)
class Image:
    """A custom image, made from a snapshot."""

    id: int
    snapshot_id: int
    name: str
    labels: list[str]
    made: datetime


@dataclass(frozen=True)
class Snapshot:
    """A snapshot.

    Attributes:
        began: when its creation began.
        gigabytes: its size once it is ready.
        outcome: its status once it is no longer being created.
        touched: when a person last changed it; None if never.
        image: the image made from it, if any.
        vm: the life of its VM; None when the VM is deleted.
    """

    id: int
    name: str
    description: str
    labels: list[str]
    vm_id: int
    vm_name: str
    config: Config
    has_floating_ip: bool
    began: datetime
    gigabytes: int
    outcome: str = "SUCCESS"
    touched: datetime | None = None
    image: Image | None = None
    vm: lifecycle.VmTimes | None = None

    def status(self, now: datetime) -> str:
        """Its status at a time."""
        return lifecycle.snapshot_status(self.began, self.gigabytes, self.outcome, now)


@dataclass(frozen=True)
class Event:
    """Something that happened to a snapshot or a VM, or will: `at` may lie ahead."""

    at: datetime
    type: str
    reason: str
    message: str
    id: int = 0


def vm_from(row: sqlite3.Row) -> Vm:
    """A row of the VM queries."""
    return Vm(
        id=row["id"],
        name=row["name"],
        config=Config(**json.loads(row["config"])),
        times=_times_from(row),
        labels=json.loads(row["labels"]),
        floating_ip=row["floating_ip"],
        contract_id=row["contract_id"],
    )


def snapshot_from(row: sqlite3.Row) -> Snapshot:
    """A row of the snapshot queries, which join the image and the VM."""
    return Snapshot(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        labels=json.loads(row["labels"]),
        vm_id=row["vm_id"],
        vm_name=row["vm_name"],
        config=Config(**json.loads(row["config"])),
        has_floating_ip=bool(row["has_floating_ip"]),
        began=from_micros(row["began"]),
        gigabytes=row["gigabytes"],
        outcome=row["outcome"],
        touched=_maybe(row["touched"]),
        image=_image_from(row),
        vm=None if row["born"] is None else _times_from(row),
    )


def _image_from(row: sqlite3.Row) -> Image | None:
    if row["image_id"] is None:
        return None
    return Image(
        id=row["image_id"],
        snapshot_id=row["id"],
        name=row["image_name"],
        labels=json.loads(row["image_labels"]),
        made=from_micros(row["made"]),
    )


def _times_from(row: sqlite3.Row) -> lifecycle.VmTimes:
    return lifecycle.VmTimes(
        born=from_micros(row["born"]),
        resting=row["resting"],
        snapshot_began=_maybe(row["snapshot_began"]),
        snapshot_gb=row["snapshot_gb"],
    )


def _maybe(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
