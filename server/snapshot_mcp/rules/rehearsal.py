"""Names of rehearsal VMs. A prefix identifies those that were not deleted."""

from snapshot_mcp.models.cloud import MAX_NAME_LENGTH

REHEARSAL_PREFIX = "rehearsal-"


def rehearsal_name(name: str) -> str:
    """Return `name` with the rehearsal prefix, truncated to the maximum length of a name."""
    if is_rehearsal(name):
        return name
    return (REHEARSAL_PREFIX + name)[:MAX_NAME_LENGTH].rstrip()


def is_rehearsal(name: str) -> bool:
    """Return whether a VM with this name was created to rehearse a restore."""
    return name.startswith(REHEARSAL_PREFIX)
