"""Notifications to subscribed clients that a snapshot has changed."""

from collections.abc import Awaitable, Callable

from snapshot_mcp.core.request_context import current_caller
from snapshot_mcp.core.uris import snapshot_uri, vm_snapshots_uri
from snapshot_mcp.models.cloud import Snapshot


async def announce_change(snapshot_id: int, vm_id: int | None) -> None:
    """Announce that a snapshot and the list of its VM's snapshots have changed."""
    notify = current_caller().notify_resource_updated
    await notify(snapshot_uri(snapshot_id))
    if vm_id is not None:
        await notify(vm_snapshots_uri(vm_id))


def build_announcing_fetch(
    first: Snapshot, fetch: Callable[[], Awaitable[Snapshot]]
) -> Callable[[], Awaitable[Snapshot]]:
    """Return a function that fetches the snapshot and announces it if its state has changed."""
    state = first.state

    async def fetch_and_announce() -> Snapshot:
        nonlocal state
        snapshot = await fetch()
        if snapshot.state != state:
            state = snapshot.state
            await announce_change(snapshot.id, first.vm_id)
        return snapshot

    return fetch_and_announce
