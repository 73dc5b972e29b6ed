"""Names are unique, and those that this server used in the last minutes are taken.

The cloud may not show yet what has such a name, in its name check or in its lists.
"""

from typing import NamedTuple

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.core.sanitize import quoted
from snapshot_mcp.operations.own_writes import OwnWrites, RecentWrite


class NameKind(NamedTuple):
    """The things among which a name is unique.

    Attributes:
        noun: what they are, in one word.
        tool: name of the tool that creates them.
        argument: the argument that names them.
    """

    noun: str
    tool: str
    argument: str


SNAPSHOT_NAME = NameKind("snapshot", "create_snapshot", "name")
VM_NAME = NameKind("VM", "restore_snapshot", "new_vm_name")
IMAGE_NAME = NameKind("image", "create_image_from_snapshot", "name")


async def check_name_unused(own_writes: OwnWrites, kind: NameKind, name: str) -> None:
    """Check that no write of the last minutes used a name.

    Raises:
        RefusedError: one did, and this server has not deleted what it created.
        LedgerError: the ledger cannot be read.
    """
    for write in await find_uses(own_writes, kind, name):
        used = f"This server used the name {quoted(name)} at {write.sent_at:%H:%M} UTC"
        if write.result_id is not None:
            used += f" for {kind.noun} {write.result_id}."
        elif write.row.event == "done":
            used += f" for the {kind.noun} that it created."
        else:
            used += f"; whether the {kind.noun} was created is not known."
        raise RefusedError(used, f"{NOTHING_CHANGED} Choose another name.")


async def find_uses(own_writes: OwnWrites, kind: NameKind, name: str) -> list[RecentWrite]:
    """Return the writes of the last minutes that used a name, newest first.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    uses = await own_writes.find_recent(kind.tool, kind.argument, name)
    if uses:
        await own_writes.refresh_deletions()
    return [use for use in uses if not _is_deleted(own_writes, kind, use)]


def name_taken_error(kind: NameKind, name: str, number: int | None) -> RefusedError:
    """Return the error for a name that the cloud shows as taken.

    Args:
        kind: what the name is for.
        name: the name.
        number: id of what has the name; None if it is not known.
    """
    article = "An" if kind == IMAGE_NAME else "A"
    by = f": {kind.noun} {number}" if number else ""
    return RefusedError(
        f"{article} {kind.noun} named {quoted(name)} exists already{by}.",
        f"{NOTHING_CHANGED} Choose another name.",
    )


def _is_deleted(own_writes: OwnWrites, kind: NameKind, use: RecentWrite) -> bool:
    """Return whether this server has deleted what a write created."""
    # An image is deleted with its snapshot, which is the target of its creation.
    snapshot_id = use.row.target if kind == IMAGE_NAME else use.result_id
    return (
        kind != VM_NAME
        and snapshot_id is not None
        and own_writes.find_deletion(snapshot_id) is not None
    )
