"""States of snapshots and VMs, computed from stored times by pure functions.

Nothing runs in the background: rows store when something started, and the state follows on each
read. Source for the names of the states: the vendor's recorded replies and guides.
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
DELETION_DURATION = timedelta(seconds=1.5)
POWER_DURATIONS = {
    "STOPPING": timedelta(seconds=1),
    "STARTING": timedelta(seconds=2),
    "REBOOTING": timedelta(seconds=2),
    "HIBERNATING": timedelta(seconds=3),
    "RESTORING": timedelta(seconds=3),
}
"""The duration of each status between two idle ones."""

SNAPSHOTTABLE_STATUSES = frozenset({"ACTIVE", "SHUTOFF"})


@dataclass(frozen=True)
class VmTimes:
    """The stored data from which a VM's state follows.

    Attributes:
        created_at: start of its creation.
        idle_status: its status when no operation is in progress.
        snapshot_started_at: start of its latest snapshot; None before the first.
        snapshot_gb: final size of that snapshot.
        power_phase: the status on the way to `idle_status` (a key of `POWER_DURATIONS`).
        power_started_at: start of that status.
        deleted_at: start of its deletion.
    """

    created_at: datetime
    idle_status: str
    snapshot_started_at: datetime | None = None
    snapshot_gb: int = 0
    power_phase: str | None = None
    power_started_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True)
class VmState:
    """The state of a VM at one time."""

    status: str
    is_snapshotting: bool = False


def snapshot_end_time(started_at: datetime, size_gb: int) -> datetime:
    """Return the time at which a snapshot of this final size is ready or has failed."""
    duration = MIN_SNAPSHOT_DURATION + size_gb * SNAPSHOT_DURATION_PER_GB
    return started_at + min(duration, MAX_SNAPSHOT_DURATION)


def snapshot_status(started_at: datetime, size_gb: int, final_status: str, now: datetime) -> str:
    """Return CREATING until the snapshot's end, then its final status (SUCCESS or ERROR)."""
    return "CREATING" if now < snapshot_end_time(started_at, size_gb) else final_status


def snapshot_updated_time(
    started_at: datetime, size_gb: int, modified_at: datetime | None, now: datetime
) -> datetime:
    """Return the latest of start, end and last modification that is not in the future."""
    later_times = (snapshot_end_time(started_at, size_gb), modified_at)
    return max([started_at, *(time for time in later_times if time is not None and time <= now)])


def snapshot_size_gb(volume_gb: int, vm_id: int, existing: int) -> int:
    """Return the final size: the first snapshot of a VM is full, later ones hold the difference.

    Args:
        volume_gb: size of the VM's bootable volume.
        vm_id: id of the VM, which varies the size between VMs.
        existing: number of usable snapshots of the VM.

    Returns:
        The size in whole GB.
    """
    if existing == 0:
        return max(1, volume_gb * (35 + vm_id * 7 % 31) // 100)
    return 2 + (vm_id + existing * 5) % 9


def vm_state(times: VmTimes, now: datetime) -> VmState:
    """Return the state of a VM.

    An ACTIVE VM is shut off for its snapshot and started again, and is busy until it is ACTIVE
    again. A VM that was off stays off. Source: the vendor's guide.
    """
    if times.deleted_at is not None:
        return VmState("DELETING")
    if times.power_phase and times.power_started_at is not None:
        end = times.power_started_at + POWER_DURATIONS[times.power_phase]
        return VmState(times.power_phase if now < end else times.idle_status)
    if now < times.created_at + RESTORE_TOTAL_DURATION:
        is_creating = now < times.created_at + RESTORE_CREATE_DURATION
        return VmState("CREATING" if is_creating else "BUILD")
    return _snapshotting_state(times, now)


def _snapshotting_state(times: VmTimes, now: datetime) -> VmState:
    if times.snapshot_started_at is None:
        return VmState(times.idle_status)
    end = snapshot_end_time(times.snapshot_started_at, times.snapshot_gb)
    if times.idle_status != "ACTIVE":
        return VmState(times.idle_status, is_snapshotting=now < end)
    phases = (
        ("STOPPING", times.snapshot_started_at + VM_STOP_DURATION),
        ("SHUTOFF", end),
        ("STARTING", end + VM_START_DURATION),
    )
    for status, phase_end in phases:
        if now < phase_end:
            return VmState(status, is_snapshotting=True)
    return VmState("ACTIVE")
