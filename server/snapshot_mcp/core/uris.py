"""The addresses under which clients read, and by which they hear of changes."""

POLICY_URI = "snapshot://policy"
SNAPSHOT_URI_TEMPLATE = "snapshot://{id}"
VM_SNAPSHOTS_URI_TEMPLATE = "vm://{id}/snapshots"
PANEL_URI = "ui://snapshots/panel.html"


def snapshot_uri(snapshot_id: int) -> str:
    """The address of one snapshot."""
    return SNAPSHOT_URI_TEMPLATE.format(id=snapshot_id)


def vm_snapshots_uri(vm_id: int) -> str:
    """The address of the list of one VM's snapshots."""
    return VM_SNAPSHOTS_URI_TEMPLATE.format(id=vm_id)
