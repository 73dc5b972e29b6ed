"""The addresses under which clients read, and by which they hear of changes."""

POLICY = "snapshot://policy"
SNAPSHOT = "snapshot://{id}"
VM_SNAPSHOTS = "vm://{id}/snapshots"
PANEL = "ui://snapshots/panel.html"


def snapshot_address(snapshot_id: int) -> str:
    """The address of one snapshot."""
    return SNAPSHOT.format(id=snapshot_id)


def vm_snapshots_address(vm_id: int) -> str:
    """The address of the list of one VM's snapshots."""
    return VM_SNAPSHOTS.format(id=vm_id)
