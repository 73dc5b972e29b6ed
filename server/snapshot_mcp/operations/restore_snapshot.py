"""restore_snapshot: make a new, billed VM from a snapshot, after a plan and its approval."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.writer import CloudWriter, RestoreReceipt
from snapshot_mcp.consent.evidence import Approver
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.consent.target import Target, snapshot_target
from snapshot_mcp.core.clock import SYSTEM_CLOCK, Clock
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    NotDoneError,
    OutcomeUnknownError,
    RefusedError,
)
from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.ledger.chain import Argument, Row, attempt_from_row
from snapshot_mcp.models.cloud import VirtualMachine, status_word
from snapshot_mcp.models.costs import RestoreCosts
from snapshot_mcp.models.snapshots import RestoreResult, VirtualMachineSummary
from snapshot_mcp.operations.listing import find_virtual_machines
from snapshot_mcp.operations.lookups import read_snapshot
from snapshot_mcp.operations.planned_write import (
    NEW_PLAN_NEEDED,
    SentWrite,
    WriteContext,
    execute,
)
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import PollResult, poll_until
from snapshot_mcp.operations.requests import Commit, RestoreSnapshotRequest
from snapshot_mcp.operations.restore_costs import read_restore_costs
from snapshot_mcp.operations.used_names import VM_NAME, check_name_unused, name_taken_error
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import restore_blast_radius
from snapshot_mcp.rules.eligibility import restore_obstacle, snapshot_doubt, snapshot_obstacle
from snapshot_mcp.rules.rehearsal import rehearsal_name

_CONTRACT_REJECTED = "The cloud rejected the contract, so the VM is billed on demand."


@dataclass
class RestoreSnapshot:
    """The restore of one snapshot.

    Attributes:
        request: the snapshot and the new VM.
        clock: measures how long the restore takes.
        sent_at: when the request was last sent, in seconds of `clock.monotonic`.
        costs: read once; None until then. Later checks do not wait for facts that only inform.
    """

    tool: ClassVar[Literal["restore_snapshot"]] = "restore_snapshot"
    request: RestoreSnapshotRequest
    clock: Clock = SYSTEM_CLOCK
    sent_at: float = 0.0
    costs: RestoreCosts | None = None

    @classmethod
    def from_row(cls, row: Row) -> Self | None:
        """Return the write that a row of the ledger describes; None if the name is missing."""
        name = attempt_from_row(row).arguments.get("new_vm_name")
        return cls(RestoreSnapshotRequest(row.target, str(name), None)) if name else None

    @property
    def intent(self) -> Intent:
        """The tool, the snapshot, and every other argument."""
        arguments: dict[str, Argument] = {
            **self.request._asdict(),
            "contract_id": self.request.contract_id or 0,
        }
        del arguments["snapshot_id"]
        return Intent(self.tool, self.request.snapshot_id, arguments)

    async def target(self, context: WriteContext) -> Target:
        """Return the snapshot, read last, with the VM that would be made.

        Raises:
            RefusedError: the snapshot is not ready, the policy forbids it, or the name is taken.
        """
        name, now = self.request.new_vm_name, context.clock.now()
        if self.costs is None:
            self.costs = await read_restore_costs(context.reader, self.request.contract_id)
        await check_name_unused(context.reader.own_writes, VM_NAME, name)
        taken_by = await _find_virtual_machine(context.reader, name)
        if taken_by is not None:
            raise name_taken_error(VM_NAME, name, taken_by.id)
        snapshot = await read_snapshot(context.reader, self.request.snapshot_id)
        enforce_policy(rules.check_restore(context.policy, snapshot))
        obstacle = restore_obstacle(snapshot)
        if obstacle is not None:
            raise RefusedError(
                f"Snapshot {snapshot.id} cannot be restored now: {obstacle}.", NOTHING_CHANGED
            )
        radius = restore_blast_radius(
            snapshot, name, self.costs, now, rehearsal=self.request.rehearsal
        )
        return snapshot_target(snapshot, radius)

    def send(self, writer: CloudWriter) -> Awaitable[RestoreReceipt]:
        """Send the request once."""
        self.sent_at = self.clock.monotonic()
        request = self.request
        return writer.restore_snapshot(
            request.snapshot_id, request.new_vm_name, request.contract_id
        )

    async def find_effect(self, reader: CloudReader) -> RestoreReceipt | None:
        """Return the VM with the new name."""
        vm = await _find_virtual_machine(reader, self.request.new_vm_name)
        return None if vm is None else RestoreReceipt(vm, contract_rejected=False)

    def is_certain(self, effect: object) -> bool:
        """Return False: a VM with this name may hold any snapshot."""
        del effect
        return False

    def remark(self, result: object) -> str:
        """Return nothing: there is nothing to compare."""
        del result
        return ""


async def restore_snapshot(
    context: WriteContext,
    request: RestoreSnapshotRequest,
    commit: Commit,
    wait_seconds: int,
    approver: Approver,
) -> RestoreResult:
    """Plan a restore, or commit a plan and wait until the new VM is ACTIVE.

    Raises:
        RefusedError: consent is not valid, or as `RestoreSnapshot.target`; nothing was sent.
        CloudError: the cloud refused, or could not be reached.
    """
    if request.rehearsal:
        request = request._replace(new_vm_name=rehearsal_name(request.new_vm_name))
    write = RestoreSnapshot(request, context.clock)
    try:
        executed = await execute(context, write, commit, approver)
    except NotDoneError as error:
        return RestoreResult(outcome="failed", next_step=f"{error} {NEW_PLAN_NEEDED}")
    except OutcomeUnknownError as error:
        name = quoted(request.new_vm_name)
        how_to_check = (
            f"Call list_virtual_machines with search {name}: if it is there, it was created, and"
            " is billed until it is deleted."
        )
        return RestoreResult(outcome="unknown", next_step=f"{error} {how_to_check}")
    if not isinstance(executed, SentWrite):
        return RestoreResult(outcome="confirmation_required").model_copy(update=executed)
    receipt = executed.result
    polled = await poll_until(
        receipt.virtual_machine,
        lambda: context.plain_reader.get_virtual_machine(receipt.virtual_machine.id),
        lambda latest: status_word(latest.status) in ("ACTIVE", "ERROR"),
        lambda latest: f"VM {latest.id} is {cell_text(latest.status)}, billed until it is deleted",
        seconds=wait_seconds,
        clock=context.clock,
    )
    return _build_result(
        polled,
        contract_rejected=receipt.contract_rejected,
        rehearsal=request.rehearsal,
        took_seconds=context.clock.monotonic() - write.sent_at,
    )


async def _find_virtual_machine(reader: CloudReader, name: str) -> VirtualMachine | None:
    found = await find_virtual_machines(reader, name)
    return next((vm for vm in found.results if vm.name == name), None)


def _build_result(
    polled: PollResult[VirtualMachine],
    *,
    contract_rejected: bool,
    rehearsal: bool,
    took_seconds: float,
) -> RestoreResult:
    vm, problem = polled
    took = None
    match status_word(vm.status):
        case "ACTIVE":
            outcome, took = "restored", round(took_seconds, 1)
            next_step = "" if rehearsal else "It is billed until it is deleted."
        case "ERROR":
            outcome, next_step = "failed", "The cloud created the VM but reports an error on it."
        case _:
            outcome = "pending"
            status = (
                f"The cloud accepted it, but {problem}." if problem else "It is not ACTIVE yet."
            )
            next_step = (
                f"{status} Call list_virtual_machines with search {quoted(vm.name)} to follow it;"
                " do not restore it again."
            )
    sentences = (
        next_step,
        _removal_instructions(vm) if rehearsal else "",
        _CONTRACT_REJECTED if contract_rejected else "",
    )
    return RestoreResult(
        outcome=outcome,
        virtual_machine=VirtualMachineSummary.from_virtual_machine(
            vm, snapshot_obstacle(vm), snapshot_doubt(vm)
        ),
        took_seconds=took,
        next_step=" ".join(filter(None, sentences)),
    )


def _removal_instructions(vm: VirtualMachine) -> str:
    return (
        f"Tell the person to check VM {vm.id}, which is billed until it is deleted. Then call"
        f" delete_rehearsal_vm with vm_id {vm.id}."
    )
