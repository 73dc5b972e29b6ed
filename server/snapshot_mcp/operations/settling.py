"""After a crash: what was sent and not seen to end is settled by looking at the cloud.

Only what is seen is recorded. What cannot be seen stays as it is, for the next start.
"""

import json
import logging
from typing import cast

from snapshot_mcp.clock import Clock
from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.errors import NotFound, SnapshotMcpError
from snapshot_mcp.ledger import Attempt, Ledger, Row
from snapshot_mcp.operations.listing import all_snapshots, find_virtual_machines

LOOKS = 3
SECONDS_BETWEEN_LOOKS = 1.0
"""A request that was on its way when the process died may take effect a moment later."""

logger = logging.getLogger(__name__)


async def settle(ledger: Ledger, reader: CloudReader, clock: Clock) -> None:
    """Settle the attempts of processes that ended before they saw what came of them.

    A cloud or a ledger that cannot be read now does not keep the server from working: the
    attempts stay open, and the next start tries again.
    """
    try:
        open_rows = await ledger.unsettled()
        for row in open_rows:
            if not _can_be_looked_for(row):
                continue
            happened = await _happened(row, reader, clock)
            await ledger.record(
                "done" if happened else "failed",
                _attempt(row),
                f"settled after a crash: the cloud {'shows' if happened else 'does not show'} it",
            )
        if open_rows:
            await ledger.unsettled()  # forgets the processes of which nothing is open any more
    except SnapshotMcpError as error:
        logger.warning("what an earlier process sent could not be settled: %s", error)


async def _happened(row: Row, reader: CloudReader, clock: Clock) -> bool:
    for look in range(LOOKS):
        if look:
            await clock.sleep(SECONDS_BETWEEN_LOOKS)
        if await _shows(row, reader):
            return True
    return False


async def _shows(row: Row, reader: CloudReader) -> bool:
    match row.tool:
        case "delete_snapshot":
            try:
                await reader.snapshot(row.target)
            except NotFound:
                return True
            return False
        case "restore_snapshot":
            name = _argument(row, "new_vm_name")
            found, _ = await find_virtual_machines(reader, name)
            return any(vm.name == name for vm in found)
        case _:
            name = _argument(row, "name")
            snapshots = (await all_snapshots(reader, name)).snapshots
            return any(it.name == name and it.vm_id == row.target for it in snapshots)


def _can_be_looked_for(row: Row) -> bool:
    names = {"restore_snapshot": "new_vm_name", "create_snapshot": "name"}
    return row.tool not in names or bool(_argument(row, names[row.tool]))


def _argument(row: Row, name: str) -> str:
    return str(cast("dict[str, object]", json.loads(row.arguments)).get(name, ""))


def _attempt(row: Row) -> Attempt:
    return Attempt(
        id=row.attempt,
        tool=row.tool,
        target=row.target,
        arguments=cast("dict[str, str]", json.loads(row.arguments)),
        principal=row.principal,
        evidence=row.evidence,
        client=row.client,
    )
