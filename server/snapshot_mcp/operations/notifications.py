"""Telling whoever listens that a snapshot is not as it was."""

from collections.abc import Awaitable, Callable

from snapshot_mcp.core.request_context import current_caller
from snapshot_mcp.core.uris import snapshot_uri, vm_snapshots_uri
from snapshot_mcp.models.cloud import Snapshot


async def announce(snapshot_id: int, vm_id: int | None) -> None:
    """Tell that this snapshot came, went, or changed its state; and so the list of its VM."""
    tell = current_caller().notify_resource_updated
    await tell(snapshot_uri(snapshot_id))
    if vm_id is not None:
        await tell(vm_snapshots_uri(vm_id))


def announcing_changes(
    first: Snapshot, look: Callable[[], Awaitable[Snapshot]]
) -> Callable[[], Awaitable[Snapshot]]:
    """`look`, which also tells when the state of the snapshot is another than at the last look."""
    state = first.state

    async def look_and_tell() -> Snapshot:
        nonlocal state
        seen = await look()
        if seen.state != state:
            state = seen.state
            await announce(seen.id, first.vm_id)
        return seen

    return look_and_tell
