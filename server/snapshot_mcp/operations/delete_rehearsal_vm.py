"""delete_rehearsal_vm: delete a VM that a rehearsal created, after a plan and its approval."""

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Self

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.writer import CloudWriter, DeletionReceipt
from snapshot_mcp.consent.evidence import Approver
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.consent.target import Target, vm_target
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
)
from snapshot_mcp.core.sanitize import quoted
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.models.cloud import VirtualMachine, status_word
from snapshot_mcp.models.rehearsals import DeleteRehearsalVmResult, VmDeletion
from snapshot_mcp.operations.listing import collect_snapshots_of_vm
from snapshot_mcp.operations.planned_write import (
    NEW_PLAN_NEEDED,
    SentWrite,
    WriteContext,
    execute,
)
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import wait_until_gone
from snapshot_mcp.operations.rehearsals import Rehearsal, find_rehearsal
from snapshot_mcp.operations.requests import Commit
from snapshot_mcp.operations.restore_costs import read_prices
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.eligibility import rehearsal_deletion_obstacle
from snapshot_mcp.rules.restore_costs import estimate_price_per_hour

_SECONDS_PER_DAY = 86_400
_DELETION_TIMEOUT_SECONDS = 10.0
_DELETING = ("DELETING", "DELETED")


@dataclass
class DeleteRehearsalVm:
    """The deletion of one VM.

    Attributes:
        vm_id: id of the VM.
        rehearsal: the rehearsal that created it; None until it has been looked up.
        saved_per_hour: the estimated price of the VM; None if unknown.
    """

    tool: ClassVar[Literal["delete_rehearsal_vm"]] = "delete_rehearsal_vm"
    vm_id: int
    rehearsal: Rehearsal | None = None
    saved_per_hour: float | None = None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return the write that a row of the ledger describes."""
        return cls(row.target)

    @property
    def intent(self) -> Intent:
        """The tool and the VM."""
        return Intent(self.tool, self.vm_id, {})

    async def target(self, context: WriteContext) -> Target:
        """Return the VM, read last.

        Raises:
            RefusedError: no rehearsal of this server created it, it is not as it was created, it
                has volumes, a floating IP or snapshots, one of these facts is unknown, or the
                policy forbids it.
        """
        if self.rehearsal is None:
            self.rehearsal = await find_rehearsal(context.reader.own_writes, self.vm_id)
            vm = await context.reader.get_virtual_machine(self.vm_id)
            prices = await read_prices(context.reader)
            self.saved_per_hour = estimate_price_per_hour(vm.flavor, prices)
        await self._check_snapshots(context.reader)
        vm = await context.reader.get_virtual_machine(self.vm_id)
        self.rehearsal.check_vm(vm)
        obstacle = rehearsal_deletion_obstacle(vm)
        if obstacle is not None:
            raise self._refusal(obstacle)
        enforce_policy(rules.check_vm_deletion(context.policy, rules.vm_region(vm)))
        return vm_target(self._deletion(context, vm, self.rehearsal))

    async def _check_snapshots(self, reader: CloudReader) -> None:
        collected = await collect_snapshots_of_vm(reader, self.vm_id)
        if any(snapshot.state != "deleting" for snapshot in collected.results):
            raise self._refusal("it has snapshots")
        if collected.unreadable_count:
            raise self._refusal("whether it has snapshots is not known")

    def _refusal(self, obstacle: str) -> RefusedError:
        return RefusedError(
            f"VM {self.vm_id} is not deleted: {obstacle}.",
            f"{NOTHING_CHANGED} A person can delete it in the cloud's console.",
        )

    def _deletion(
        self, context: WriteContext, vm: VirtualMachine, rehearsal: Rehearsal
    ) -> VmDeletion:
        age = context.clock.now() - rehearsal.vm_created_at
        return VmDeletion(
            action=f"Delete VM {vm.id} {quoted(vm.name)} and its data permanently.",
            vm_id=vm.id,
            name=vm.name,
            status=vm.status,
            flavor=vm.flavor.name if vm.flavor else None,
            region=vm.region,
            created_at=rehearsal.vm_created_at,
            age_days=round(age.total_seconds() / _SECONDS_PER_DAY, 1),
            snapshot_id=rehearsal.snapshot_id,
            saved_per_hour_estimate=self.saved_per_hour,
            warnings=(_describe_origin(rehearsal),),
        )

    def send(self, writer: CloudWriter) -> Awaitable[DeletionReceipt]:
        """Send the request once."""
        return writer.delete_virtual_machine(self.vm_id)

    async def find_effect(self, reader: CloudReader) -> DeletionReceipt | None:
        """Return the deletion if the VM is gone or being deleted."""
        try:
            vm = await reader.get_virtual_machine(self.vm_id)
        except NotFoundError:
            return DeletionReceipt(self.vm_id, gone=True)
        return DeletionReceipt(self.vm_id) if status_word(vm.status) in _DELETING else None

    def is_certain(self, effect: object) -> bool:
        """Return whether the VM is gone; an earlier request may still be deleting it."""
        return isinstance(effect, DeletionReceipt) and effect.gone

    def remark(self, result: object) -> str:
        """Return nothing: there is nothing to compare."""
        del result
        return ""


async def delete_rehearsal_vm(
    context: WriteContext, vm_id: int, commit: Commit, approver: Approver
) -> DeleteRehearsalVmResult:
    """Plan the deletion of a rehearsal's VM, or commit a plan.

    Raises:
        RefusedError: consent is not valid, or as `DeleteRehearsalVm.target`; nothing was sent.
        CloudError: the cloud refused, or could not be reached.
    """
    try:
        executed = await execute(context, DeleteRehearsalVm(vm_id), commit, approver)
    except NotDoneError as error:
        next_step = f"{error} {NEW_PLAN_NEEDED}"
        return DeleteRehearsalVmResult(outcome="failed", vm_id=vm_id, next_step=next_step)
    except OutcomeUnknownError as error:
        outcome = "pending" if error.effect_visible else "unknown"
        next_step = f"{error} {_how_to_check(vm_id)}"
        return DeleteRehearsalVmResult(outcome=outcome, vm_id=vm_id, next_step=next_step)
    if not isinstance(executed, SentWrite):
        planned = DeleteRehearsalVmResult(outcome="confirmation_required", vm_id=vm_id)
        return planned.model_copy(update=executed)
    if await wait_until_gone(
        partial(_is_gone, context.plain_reader, vm_id),
        f"VM {vm_id}",
        seconds=_DELETION_TIMEOUT_SECONDS,
        clock=context.clock,
    ):
        next_step = "Nothing more to do: it is not billed any more, and its snapshot stays."
        return DeleteRehearsalVmResult(outcome="deleted", vm_id=vm_id, next_step=next_step)
    next_step = f"The cloud accepted the deletion, but still shows the VM. {_how_to_check(vm_id)}"
    return DeleteRehearsalVmResult(outcome="pending", vm_id=vm_id, next_step=next_step)


async def _is_gone(reader: CloudReader, vm_id: int) -> bool:
    return status_word((await reader.get_virtual_machine(vm_id)).status) == "DELETED"


def _describe_origin(rehearsal: Rehearsal) -> str:
    return (
        f"A rehearsal of snapshot {rehearsal.snapshot_id} created it. All changes on it"
        " since then are lost; the snapshot stays."
    )


def _how_to_check(vm_id: int) -> str:
    return f"Call list_virtual_machines later: if {vm_id} is not in it, it was deleted."
