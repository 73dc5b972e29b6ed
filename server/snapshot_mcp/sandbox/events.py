"""The events that an action leaves behind.

What will happen is recorded together with what did, so that either both are stored or none is;
the store tells an event only when its time has come.
"""

from datetime import datetime

from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox.entities import Event, Image, Snapshot, Vm
from snapshot_mcp.sandbox.store import StoreSession


def snapshot_begun(session: StoreSession, snapshot: Snapshot, resting: str) -> None:
    """A snapshot was asked for, and will be ready (or fail); its VM may stop and start."""
    snapshot_made(session, snapshot)
    end = lifecycle.snapshot_end(snapshot.began, snapshot.gigabytes)
    _of_vm(session, snapshot.vm_id, snapshot.began, "snapshot", f"Snapshot {snapshot.id} began.")
    if resting == "ACTIVE":
        off, on = snapshot.began + lifecycle.VM_STOP_DURATION, end + lifecycle.VM_START_DURATION
        _of_vm(session, snapshot.vm_id, off, "shutoff", "VM was shut off for a snapshot.")
        _of_vm(session, snapshot.vm_id, on, "start", "VM was started again after a snapshot.")


def snapshot_made(session: StoreSession, snapshot: Snapshot) -> None:
    """The events of the snapshot itself."""
    end = lifecycle.snapshot_end(snapshot.began, snapshot.gigabytes)
    result = "completed" if snapshot.outcome == "SUCCESS" else "failed"
    _of_snapshot(session, snapshot.id, snapshot.began, "creation", "Snapshot creation began.")
    _of_snapshot(session, snapshot.id, end, "creation", f"Snapshot creation {result}.")


def snapshot_deleted(session: StoreSession, snapshot: Snapshot, now: datetime) -> None:
    """A snapshot was deleted."""
    _of_snapshot(session, snapshot.id, now, "deletion", "Snapshot was deleted.")


def snapshot_restored(session: StoreSession, snapshot: Snapshot, vm: Vm) -> None:
    """A VM was made from a snapshot."""
    text = f"Snapshot was restored to VM {vm.id}."
    _of_snapshot(session, snapshot.id, vm.times.born, "restore", text)
    vm_made(session, vm, f"VM creation from snapshot {snapshot.id} began.")


def vm_made(session: StoreSession, vm: Vm, message: str = "VM creation began.") -> None:
    """A VM was asked for, and will run."""
    done = vm.times.born + lifecycle.RESTORE_TOTAL_DURATION
    _of_vm(session, vm.id, vm.times.born, "creation", message)
    _of_vm(session, vm.id, done, "creation", "VM creation completed.")


def vm_deleted(session: StoreSession, vm: Vm, now: datetime) -> None:
    """A VM was deleted."""
    _of_vm(session, vm.id, now, "deletion", "VM was deleted.")


def image_made(session: StoreSession, image: Image) -> None:
    """An image was made from a snapshot."""
    text = f"Image {image.id} was made from the snapshot."
    _of_snapshot(session, image.snapshot_id, image.made, "image", text)


def _of_snapshot(
    session: StoreSession, subject: int, at: datetime, kind: str, message: str
) -> None:
    session.add_event("snapshot", subject, Event(at, kind, f"snapshot_{kind}", message))


def _of_vm(session: StoreSession, subject: int, at: datetime, kind: str, message: str) -> None:
    session.add_event("virtual_machine", subject, Event(at, kind, f"vm_{kind}", message))
