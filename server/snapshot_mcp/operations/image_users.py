"""Find the VMs that use an image, which is deleted together with its snapshot."""

from collections.abc import Sequence

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.core.errors import CloudError, ProtocolError
from snapshot_mcp.models.cloud import Snapshot

IMAGE_USERS_TIMEOUT_SECONDS = 5.0


async def read_vms_of_image(reader: CloudReader, snapshot: Snapshot) -> tuple[str, ...] | None:
    """Return the VMs that use the image made from a snapshot; None if there is none, or unknown."""
    image = snapshot.custom_image
    if image is None or image.id is None:
        return None
    with anyio.move_on_after(IMAGE_USERS_TIMEOUT_SECONDS):
        try:
            return await reader.get_vms_of_image(image.id)
        except (CloudError, ProtocolError):
            return None
    return None


async def read_vms_of_images(
    reader: CloudReader, snapshots: Sequence[Snapshot]
) -> dict[int, tuple[str, ...] | None]:
    """Return the VMs that use the image of each snapshot that has one, by the snapshot's id."""
    users: dict[int, tuple[str, ...] | None] = {
        snapshot.id: None for snapshot in snapshots if snapshot.custom_image is not None
    }

    async def read(snapshot: Snapshot) -> None:
        users[snapshot.id] = await read_vms_of_image(reader, snapshot)

    async with anyio.create_task_group() as group:
        for snapshot in snapshots:
            if snapshot.id in users:
                group.start_soon(read, snapshot)
    return users
