"""Crash recovery: find out whether the writes that earlier processes left open took effect.

It runs before the first operation of a process. Only what the cloud shows is recorded. An attempt
whose effect cannot be looked up stays open until the next process starts.
"""

import logging

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.reconcile import find_effect
from snapshot_mcp.consent.write import Write, created_id
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import SnapshotMcpError, error_kind
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.operations.create_image import CreateImage
from snapshot_mcp.operations.create_snapshot import CreateSnapshot
from snapshot_mcp.operations.delete_snapshot import DeleteSnapshot
from snapshot_mcp.operations.restore_snapshot import RestoreSnapshot

LOOKUP_DELAYS_SECONDS = (1.0, 1.0)
"""A request that was under way when the process died may take effect a moment later."""

_BATCH_INTERRUPTED = (
    "settled after a crash: interrupted; each deletion that was sent has its own rows"
)
_WRITES = {
    write.tool: write for write in (CreateSnapshot, RestoreSnapshot, DeleteSnapshot, CreateImage)
}

logger = logging.getLogger(__name__)


async def recover_unsettled(ledger: Ledger, reader: CloudReader, clock: Clock) -> None:
    """Record the outcomes of attempts whose process ended before it recorded them.

    If several processes start at the same time, one of them records each outcome. If the cloud or
    the ledger cannot be read now, the attempts stay open, and the next process tries again.
    """
    try:
        open_rows = await ledger.unsettled()
        for row in open_rows:
            await _settle(row, ledger, reader, clock)
        if open_rows:
            await ledger.unsettled()  # removes lock files of processes without open attempts
    except SnapshotMcpError as error:
        kind = error_kind(error)
        logger.warning("writes of an earlier process could not be settled: %s", kind)


async def _settle(row: Row, ledger: Ledger, reader: CloudReader, clock: Clock) -> None:
    if row.tool == "apply_retention":
        await ledger.settle(row, "failed", _BATCH_INTERRUPTED)
        return
    write = _write_from_row(row)
    if write is None:
        return
    lookup = await find_effect(write, reader, clock, LOOKUP_DELAYS_SECONDS)
    if not lookup.conclusive:
        return
    happened = lookup.effect is not None
    remark = write.remark(lookup.effect)
    await ledger.settle(
        row,
        "done" if happened else "failed",
        f"settled after a crash: the cloud {'shows' if happened else 'does not show'} it"
        + (f"; {remark}" if remark else ""),
        result_id=created_id(lookup.effect),
    )


def _write_from_row(row: Row) -> Write[object] | None:
    write = _WRITES.get(row.tool)
    return None if write is None else write.from_row(row)
