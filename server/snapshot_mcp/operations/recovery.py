"""What came of a write, as the cloud shows it: for one without an answer, and after a crash.

Only what is seen is recorded. What cannot be seen stays as it is, for the next start.
"""

import json
import logging
from typing import cast

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.reconcile import EffectLookup, find_effect
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import NotFoundError, SnapshotMcpError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.models.cloud import CustomImage, Snapshot, VirtualMachine, status_word
from snapshot_mcp.operations.listing import all_snapshots, find_virtual_machines

LOOKUP_DELAYS_SECONDS = (1.0, 1.0)
"""A request that was on its way when the process died may take effect a moment later."""

_BROKEN_OFF = "settled after a crash: broken off; each deletion that was sent has its own rows"

logger = logging.getLogger(__name__)


async def recover_unsettled(ledger: Ledger, reader: CloudReader, clock: Clock) -> None:
    """Settle the attempts of processes that ended before they saw what came of them.

    Of several who start at once, one records how an attempt ended.

    A cloud or a ledger that cannot be read now does not keep the server from working: the
    attempts stay open, and the next start tries again.
    """
    try:
        open_rows = await ledger.unsettled()
        for row in open_rows:
            if row.tool == "apply_retention":
                await ledger.settle(row, "failed", _BROKEN_OFF)
                continue
            if not _can_be_looked_for(row):
                continue
            seen = await find_effect(_effect_of(row, reader), clock, LOOKUP_DELAYS_SECONDS)
            if not seen.conclusive:
                continue
            happened = seen.effect is not None
            await ledger.settle(
                row,
                "done" if happened else "failed",
                f"settled after a crash: the cloud {'shows' if happened else 'does not show'} it",
            )
        if open_rows:
            await ledger.unsettled()  # forgets the processes of which nothing is open any more
    except SnapshotMcpError as error:
        kind = type(error).__name__
        logger.warning("what an earlier process sent could not be settled: %s", kind)


async def find_created_snapshot(reader: CloudReader, vm_id: int, name: str) -> Snapshot | None:
    """The snapshot of this VM with this name, which is unique; None when there is none."""
    found = await all_snapshots(reader, name)
    return next((it for it in found if it.name == name and it.vm_id == vm_id), None)


async def find_restored_vm(reader: CloudReader, name: str) -> VirtualMachine | None:
    """The VM with this name; None when there is none."""
    found = (await find_virtual_machines(reader, name)).kept
    return next((it for it in found if it.name == name), None)


async def find_created_image(
    reader: CloudReader, snapshot_id: int, name: str
) -> CustomImage | None:
    """The image with this name, of this snapshot or in the list; None when there is none."""
    try:
        image = (await reader.get_snapshot(snapshot_id)).custom_image
    except NotFoundError:
        image = None  # an image goes together with its snapshot
    if image is not None and image.name == name:
        return image
    return await reader.find_image(name)


async def find_deletion(reader: CloudReader, snapshot_id: int) -> int | None:
    """The id of a snapshot that is gone or going; None while it is there."""
    try:
        snapshot = await reader.get_snapshot(snapshot_id)
    except NotFoundError:
        return snapshot_id
    return snapshot_id if status_word(snapshot.status) in ("DELETING", "DELETED") else None


def _effect_of(row: Row, reader: CloudReader) -> EffectLookup[object]:
    match row.tool:
        case "delete_snapshot":
            return lambda: find_deletion(reader, row.target)
        case "restore_snapshot":
            return lambda: find_restored_vm(reader, _argument(row, "new_vm_name"))
        case "create_image_from_snapshot":
            return lambda: find_created_image(reader, row.target, _argument(row, "name"))
        case _:
            return lambda: find_created_snapshot(reader, row.target, _argument(row, "name"))


def _can_be_looked_for(row: Row) -> bool:
    names = {
        "restore_snapshot": "new_vm_name",
        "create_snapshot": "name",
        "create_image_from_snapshot": "name",
    }
    return row.tool not in names or bool(_argument(row, names[row.tool]))


def _argument(row: Row, name: str) -> str:
    return str(cast("dict[str, object]", json.loads(row.arguments)).get(name, ""))
