"""The proof that a rehearsal of this server created a VM on this cloud: a row of the ledger."""

import json
from datetime import datetime
from typing import Any, NamedTuple, cast

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.ledger.chain import CLOUD, RESULT_CREATED_AT, RESULT_ID, Row
from snapshot_mcp.models.cloud import VirtualMachine
from snapshot_mcp.operations.own_writes import OwnWrites
from snapshot_mcp.rules.rehearsal import is_rehearsal

_DELETE_YOURSELF = (
    f"{NOTHING_CHANGED} This server deletes only VMs that its own rehearsals created. A person can"
    " delete others in the cloud's console."
)


class Rehearsal(NamedTuple):
    """A VM that a rehearsal created, as the cloud's reply to the restore described it.

    Attributes:
        snapshot_id: id of the snapshot that was restored.
        vm_id: id of the VM.
        vm_name: name of the VM.
        vm_created_at: when the cloud created it.
    """

    snapshot_id: int
    vm_id: int
    vm_name: str
    vm_created_at: datetime

    def check_vm(self, vm: VirtualMachine) -> None:
        """Check that a VM is still the one that the rehearsal created.

        Raises:
            RefusedError: its id, name or time of creation differs or is unknown.
        """
        expected = (self.vm_id, self.vm_name, self.vm_created_at)
        if (vm.id, vm.name, vm.created_at) != expected or {"name", "created_at"} & set(
            vm.altered or ()
        ):
            raise RefusedError(
                f"VM {vm.id} is not as the rehearsal created it: its name or its time of creation"
                " differs.",
                _DELETE_YOURSELF,
            )


async def find_rehearsal(own_writes: OwnWrites, vm_id: int) -> Rehearsal:
    """Return the rehearsal that created a VM on this cloud.

    Only the cloud's own reply to the restore counts. A VM that was found by its name after a lost
    reply may be of someone else.

    Raises:
        RefusedError: the ledger has no such rehearsal, or was altered.
        LedgerError: the ledger cannot be read.
    """
    ledger = own_writes.ledger
    if await ledger.verify():
        raise RefusedError(
            "The ledger was altered or is incomplete, so it does not prove that a rehearsal created"
            f" VM {vm_id}.",
            f"{NOTHING_CHANGED} `snapshot-mcp ledger verify` lists the problems.",
        )
    for row in await ledger.rows(tool="restore_snapshot", event="done"):
        rehearsal = _rehearsal_from_row(row, own_writes.cloud)
        if rehearsal is not None and rehearsal.vm_id == vm_id:
            return rehearsal
    raise RefusedError(f"The ledger has no rehearsal that created VM {vm_id}.", _DELETE_YOURSELF)


def _rehearsal_from_row(row: Row, cloud: str) -> Rehearsal | None:
    arguments = cast("dict[str, Any]", json.loads(row.arguments))
    vm_id, name = arguments.get(RESULT_ID), arguments.get("new_vm_name")
    created_at = arguments.get(RESULT_CREATED_AT)
    proven = not row.reason and arguments.get("rehearsal") is True and arguments.get(CLOUD) == cloud
    if not (isinstance(vm_id, int) and isinstance(name, str) and isinstance(created_at, str)):
        return None
    if not proven or not is_rehearsal(name):
        return None
    return Rehearsal(row.target, vm_id, name, datetime.fromisoformat(created_at))
