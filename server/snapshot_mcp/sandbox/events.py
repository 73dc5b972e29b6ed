"""Events that handlers record.

Future events are recorded in the same transaction as past ones, so that all of them are stored or
none is. The store returns an event only after its time has come.
"""

from datetime import datetime

from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox.entities import Event, Image, Snapshot, Vm
from snapshot_mcp.sandbox.store import StoreSession


def record_snapshot_started(session: StoreSession, snapshot: Snapshot, idle_status: str) -> None:
    """Record the start and end of a new snapshot, and the interruption of its VM.

    Args:
        session: the open transaction.
        snapshot: the new snapshot.
        idle_status: the status of its VM before and after the snapshot.
    """
    record_snapshot_creation(session, snapshot)
    vm_id, start = snapshot.vm_id, snapshot.started_at
    end = lifecycle.snapshot_end_time(start, snapshot.size_gb)
    _add_vm_event(session, vm_id, start, "snapshot", f"Snapshot {snapshot.id} began.")
    if idle_status == "ACTIVE":
        stop_time = start + lifecycle.VM_STOP_DURATION
        restart_time = end + lifecycle.VM_START_DURATION
        _add_vm_event(session, vm_id, stop_time, "shutoff", "VM was shut off for a snapshot.")
        message = "VM was started again after a snapshot."
        _add_vm_event(session, vm_id, restart_time, "start", message)


def record_snapshot_creation(session: StoreSession, snapshot: Snapshot) -> None:
    """Record the start and end of a snapshot's creation."""
    end = lifecycle.snapshot_end_time(snapshot.started_at, snapshot.size_gb)
    result = "completed" if snapshot.final_status == "SUCCESS" else "failed"
    _add_snapshot_event(
        session, snapshot.id, snapshot.started_at, "creation", "Snapshot creation began."
    )
    _add_snapshot_event(session, snapshot.id, end, "creation", f"Snapshot creation {result}.")


def record_snapshot_deletion(session: StoreSession, snapshot: Snapshot, now: datetime) -> None:
    """Record the start and end of a snapshot's deletion."""
    end = now + lifecycle.DELETION_DURATION
    _add_snapshot_event(session, snapshot.id, now, "deletion", "Snapshot deletion began.")
    _add_snapshot_event(session, snapshot.id, end, "deletion", "Snapshot was deleted.")


def record_restore(session: StoreSession, snapshot: Snapshot, vm: Vm) -> None:
    """Record that a snapshot was restored to a new VM."""
    message = f"Snapshot was restored to VM {vm.id}."
    _add_snapshot_event(session, snapshot.id, vm.times.created_at, "restore", message)
    record_vm_creation(session, vm, f"VM creation from snapshot {snapshot.id} began.")


def record_vm_creation(session: StoreSession, vm: Vm, message: str = "VM creation began.") -> None:
    """Record the start and end of a VM's creation."""
    end = vm.times.created_at + lifecycle.RESTORE_TOTAL_DURATION
    _add_vm_event(session, vm.id, vm.times.created_at, "creation", message)
    _add_vm_event(session, vm.id, end, "creation", "VM creation completed.")


def record_vm_deletion(session: StoreSession, vm: Vm, now: datetime) -> None:
    """Record that a VM was deleted."""
    _add_vm_event(session, vm.id, now, "deletion", "VM was deleted.")


def record_vm_change(session: StoreSession, vm: Vm, now: datetime, kind: str) -> None:
    """Record that a caller changed the power state of a VM."""
    _add_vm_event(session, vm.id, now, kind, f"A caller requested {kind} of the VM.")


def record_image_creation(session: StoreSession, image: Image) -> None:
    """Record that an image was created from a snapshot."""
    message = f"Image {image.id} was made from the snapshot."
    _add_snapshot_event(session, image.snapshot_id, image.created_at, "image", message)


def record_image_deletion(session: StoreSession, snapshot: Snapshot, now: datetime) -> None:
    """Record that the image of a snapshot was deleted."""
    _add_snapshot_event(session, snapshot.id, now, "image", "The image was deleted.")


def _add_snapshot_event(
    session: StoreSession, snapshot_id: int, time: datetime, kind: str, message: str
) -> None:
    event = Event(time, kind, f"snapshot_{kind}", message)
    session.add_event("snapshot", snapshot_id, event)


def _add_vm_event(
    session: StoreSession, vm_id: int, time: datetime, kind: str, message: str
) -> None:
    session.add_event("virtual_machine", vm_id, Event(time, kind, f"vm_{kind}", message))
