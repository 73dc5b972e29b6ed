"""What the panel shows: many snapshots at a glance, and a VM that is being made."""

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.models.cloud import Snapshot, status_word
from snapshot_mcp.models.panel import PanelSnapshot, PanelSnapshots, PanelVirtualMachine
from snapshot_mcp.operations.listing import all_snapshots, group_by_vm, snapshots_of_vm
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import describe_derived_image
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention_batch import total_gigabytes

MAX_PANEL_SNAPSHOTS = 1_000


class PanelQueries:
    """The operations behind the panel; they change nothing.

    Args:
        reader: the reading half of the cloud.
        clock: the time.
        policy: what the operator forbids, whoever agrees.
    """

    def __init__(self, reader: CloudReader, clock: Clock, policy: Policy) -> None:
        self._reader = reader
        self._clock = clock
        self._policy = policy

    async def snapshots(self, vm_id: int, actions: tuple[str, ...]) -> PanelSnapshots:
        """The newest snapshots, of one VM or of all.

        Args:
            vm_id: the VM; 0 for all.
            actions: names of the planning tools that are offered.

        Raises:
            CloudError: the list could not be had.
        """
        seen = await (
            snapshots_of_vm(self._reader, vm_id) if vm_id else all_snapshots(self._reader)
        )
        of_vm = group_by_vm(seen)
        newest = sorted(seen, key=_taken, reverse=True)[:MAX_PANEL_SNAPSHOTS]
        return PanelSnapshots(
            snapshots=tuple(self._pictured(it, of_vm[it.vm_id]) for it in newest),
            total=len(seen),
            total_size=total_gigabytes(seen),
            actions=actions,
        )

    async def virtual_machine(self, vm_id: int) -> PanelVirtualMachine:
        """One VM as it is now.

        Raises:
            NotFound: there is no such VM.
            CloudError: the cloud gave no usable answer.
        """
        vm = await self._reader.get_virtual_machine(vm_id)
        over = status_word(vm.status) in ("ACTIVE", "ERROR")
        return PanelVirtualMachine(id=vm.id, name=vm.name, status=vm.status, over=over)

    def _pictured(self, snapshot: Snapshot, siblings: list[Snapshot]) -> PanelSnapshot:
        ruling = rules.check_protection(self._policy, snapshot, siblings, self._clock.now())
        return PanelSnapshot(
            id=snapshot.id,
            name=snapshot.name,
            state=snapshot.state,
            status=snapshot.status if snapshot.state == "unknown" else None,
            vm_id=snapshot.vm_id,
            vm_name=snapshot.vm_name,
            vm_gone=snapshot.vm_gone or None,
            size=snapshot.size,
            created_at=snapshot.created_at,
            labels=snapshot.labels or None,
            protected=ruling.message if ruling else None,
            derived_image=describe_derived_image(snapshot),
        )


def _taken(snapshot: Snapshot) -> tuple[float, int]:
    return (snapshot.created_at.timestamp() if snapshot.created_at else 0.0), snapshot.id
