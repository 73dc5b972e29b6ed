"""The queries of the panel: many snapshots at a glance, and a VM that is being restored."""

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.models.cloud import Snapshot, status_word
from snapshot_mcp.models.panel import PanelSnapshot, PanelSnapshots, PanelVirtualMachine
from snapshot_mcp.operations.listing import group_by_vm, read_all_snapshots, read_snapshots_of_vm
from snapshot_mcp.operations.lookups import complete_list
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import describe_derived_image
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention_batch import fields_to_know, total_gigabytes

MAX_PANEL_SNAPSHOTS = 1_000


class PanelQueries:
    """The operations behind the panel; they change nothing.

    Args:
        reader: the reading half of the cloud client.
        clock: the current time.
        policy: what the operator forbids.
    """

    def __init__(self, reader: CloudReader, clock: Clock, policy: Policy) -> None:
        self._reader = reader
        self._clock = clock
        self._policy = policy

    async def snapshots(self, vm_id: int, actions: tuple[str, ...]) -> PanelSnapshots:
        """Return the newest snapshots, of one VM or of all.

        Args:
            vm_id: the VM; 0 for all.
            actions: names of the planning tools that the client is offered.

        Raises:
            CloudError: the list could not be read.
        """
        snapshots = await (
            read_snapshots_of_vm(self._reader, vm_id, decides=False)
            if vm_id
            else read_all_snapshots(self._reader, decides=False)
        )
        fields = fields_to_know(self._policy) | {"vm_name", "vm_status"}
        snapshots = await complete_list(self._reader, snapshots, fields, max_single_reads=0)
        by_vm = group_by_vm(snapshots)
        newest = sorted(snapshots, key=_creation_order, reverse=True)[:MAX_PANEL_SNAPSHOTS]
        return PanelSnapshots(
            snapshots=tuple(
                self._panel_snapshot(snapshot, by_vm[snapshot.vm_id]) for snapshot in newest
            ),
            total=len(snapshots),
            total_size=total_gigabytes(snapshots),
            actions=actions,
        )

    async def virtual_machine(self, vm_id: int) -> PanelVirtualMachine:
        """Return one VM as it is now.

        Raises:
            NotFoundError: there is no such VM.
            CloudError: the cloud gave no usable answer.
        """
        vm = await self._reader.get_virtual_machine(vm_id)
        over = status_word(vm.status) in ("ACTIVE", "ERROR")
        return PanelVirtualMachine(id=vm.id, name=vm.name, status=vm.status, over=over)

    def _panel_snapshot(self, snapshot: Snapshot, siblings: list[Snapshot]) -> PanelSnapshot:
        violation = rules.check_protection(self._policy, snapshot, siblings, self._clock.now())
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
            labels=snapshot.labels,
            protected=violation.explanation if violation else None,
            derived_image=describe_derived_image(snapshot),
            image_unknown=not snapshot.image_is_known or None,
        )


def _creation_order(snapshot: Snapshot) -> tuple[float, int]:
    return (snapshot.created_at.timestamp() if snapshot.created_at else 0.0), snapshot.id
