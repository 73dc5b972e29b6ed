"""What a wait ended with, as an answer: what was seen, and what to do next."""

from snapshot_mcp.answers import (
    CreateResult,
    RestoreResult,
    SnapshotSummary,
    VirtualMachineSummary,
)
from snapshot_mcp.models import Snapshot, VirtualMachine, status_word
from snapshot_mcp.operations.waiting import Waited
from snapshot_mcp.rules.eligibility import snapshot_obstacle
from snapshot_mcp.untrusted import quoted


def created(waited: Waited[Snapshot]) -> CreateResult:
    """What became of a snapshot that was ordered."""
    snapshot, trouble = waited
    summary = SnapshotSummary.of(snapshot)
    again = (
        f"Call inspect_snapshot with {snapshot.id} to see how it goes on; do not create it again."
    )
    match snapshot.state:
        case "ready":
            return CreateResult(
                outcome="created", snapshot=summary, next_step="It can be restored now."
            )
        case "failed":
            return CreateResult(
                outcome="failed",
                snapshot=summary,
                next_step="The cloud reports that it failed: it protects nothing.",
            )
        case _:
            seen = f"It was ordered, but {trouble}. " if trouble else "It is not ready yet. "
            return CreateResult(outcome="pending", snapshot=summary, next_step=seen + again)


def restored(waited: Waited[VirtualMachine], *, contract_rejected: bool) -> RestoreResult:
    """What became of a VM that was ordered."""
    vm, trouble = waited
    summary = VirtualMachineSummary.of(vm, snapshot_obstacle(vm))
    billed = (
        " The cloud rejected the contract, so the VM is billed on demand."
        if contract_rejected
        else ""
    )
    match status_word(vm.status):
        case "ACTIVE":
            outcome, next_step = "restored", "It is billed until somebody deletes it."
        case "ERROR":
            outcome, next_step = "failed", "The cloud made the VM but reports an error on it."
        case _:
            outcome = "pending"
            seen = f"It was ordered, but {trouble}." if trouble else "It is not ACTIVE yet."
            next_step = (
                f"{seen} Call list_virtual_machines with search {quoted(vm.name)} to see how it"
                " goes on; do not restore it again."
            )
    return RestoreResult(outcome=outcome, virtual_machine=summary, next_step=next_step + billed)
