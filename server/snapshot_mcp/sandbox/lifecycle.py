"""What the state of a thing is at a given time: pure functions of stored times.

Nothing runs in the background. A row says when something began, and the state follows at reading.
Source for the names of the states: the vendor's recorded replies and guides.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

MIN_SNAPSHOT_DURATION = timedelta(seconds=4)
SNAPSHOT_DURATION_PER_GB = timedelta(milliseconds=50)
MAX_SNAPSHOT_DURATION = timedelta(seconds=8)
VM_STOP_DURATION = timedelta(seconds=1)
VM_START_DURATION = timedelta(seconds=2)
RESTORE_CREATE_DURATION = timedelta(seconds=2)
RESTORE_TOTAL_DURATION = timedelta(seconds=6)

MAX_VOLUME_GB = 100
SNAPSHOTTABLE = frozenset({"ACTIVE", "SHUTOFF"})


@dataclass(frozen=True)
class VmTimes:
    """What is stored about the life of a VM.

    Attributes:
        born: when its creation began.
        resting: its status while nothing happens to it.
        snapshot_began: when the last snapshot of it began; None before the first.
        snapshot_gb: final size of that snapshot.
    """

    born: datetime
    resting: str
    snapshot_began: datetime | None = None
    snapshot_gb: int = 0


@dataclass(frozen=True)
class VmState:
    """How a VM is at one moment."""

    status: str
    is_snapshotting: bool = False


def snapshot_end(began: datetime, gigabytes: int) -> datetime:
    """When a snapshot of this final size is ready, or has failed."""
    return began + min(
        MIN_SNAPSHOT_DURATION + gigabytes * SNAPSHOT_DURATION_PER_GB, MAX_SNAPSHOT_DURATION
    )


def snapshot_status(began: datetime, gigabytes: int, outcome: str, now: datetime) -> str:
    """CREATING until the snapshot's end, then its outcome (SUCCESS or ERROR)."""
    return "CREATING" if now < snapshot_end(began, gigabytes) else outcome


def snapshot_updated(
    began: datetime, gigabytes: int, touched: datetime | None, now: datetime
) -> datetime:
    """When the snapshot last changed: its start, its end, or what a person did to it later."""
    later = (snapshot_end(began, gigabytes), touched)
    return max([began, *(moment for moment in later if moment is not None and moment <= now)])


def snapshot_gigabytes(volume_gb: int, vm_id: int, earlier: int) -> int:
    """Final size in whole GB; the first of a VM is full, later ones hold the difference.

    Args:
        volume_gb: size of the VM's bootable volume.
        vm_id: spreads the sizes, so that two VMs differ.
        earlier: how many usable snapshots of the VM there are already.
    """
    if earlier == 0:
        return max(1, volume_gb * (35 + vm_id * 7 % 31) // 100)
    return 2 + (vm_id + earlier * 5) % 9


def vm_state(times: VmTimes, now: datetime) -> VmState:
    """The state of a VM; it is busy until it rests again after a snapshot.

    An ACTIVE VM is shut off for its snapshot and started again; one that was off stays off.
    Source: the vendor's guide.
    """
    if now < times.born + RESTORE_TOTAL_DURATION:
        return VmState("CREATING" if now < times.born + RESTORE_CREATE_DURATION else "BUILD")
    if times.snapshot_began is None:
        return VmState(times.resting)
    end = snapshot_end(times.snapshot_began, times.snapshot_gb)
    if times.resting != "ACTIVE":
        return VmState(times.resting, is_snapshotting=now < end)
    phases = (
        ("STOPPING", times.snapshot_began + VM_STOP_DURATION),
        ("SHUTOFF", end),
        ("STARTING", end + VM_START_DURATION),
    )
    for status, until in phases:
        if now < until:
            return VmState(status, is_snapshotting=True)
    return VmState("ACTIVE")
