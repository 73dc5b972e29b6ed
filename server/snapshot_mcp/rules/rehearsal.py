"""How the VM of a rehearsal is named, so that it is known again when it was left behind."""

from snapshot_mcp.models.cloud import MAX_NAME_LENGTH

REHEARSAL_PREFIX = "rehearsal-"


def rehearsal_name(name: str) -> str:
    """`name` as the VM of a rehearsal bears it, within the length of a name; once is enough."""
    if is_rehearsal(name):
        return name
    return (REHEARSAL_PREFIX + name)[:MAX_NAME_LENGTH].rstrip()


def is_rehearsal(name: str) -> bool:
    """Whether a VM of this name was made to rehearse a restore."""
    return name.startswith(REHEARSAL_PREFIX)
