"""URIs of the MCP resources, which clients read and subscribe to."""

POLICY_URI = "snapshot://policy"
SNAPSHOT_URI_TEMPLATE = "snapshot://{id}"
VM_SNAPSHOTS_URI_TEMPLATE = "vm://{id}/snapshots"
PANEL_URI = "ui://snapshots/panel.html"


def snapshot_uri(snapshot_id: int) -> str:
    """Return the URI of one snapshot."""
    return SNAPSHOT_URI_TEMPLATE.format(id=snapshot_id)


def vm_snapshots_uri(vm_id: int) -> str:
    """Return the URI of the list of a VM's snapshots."""
    return VM_SNAPSHOTS_URI_TEMPLATE.format(id=vm_id)
