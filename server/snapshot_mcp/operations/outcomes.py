"""What a wait ended with, as an answer: what was seen, and what to do next."""

from snapshot_mcp.core.sanitize import quoted
from snapshot_mcp.models.cloud import Snapshot, VirtualMachine, status_word
from snapshot_mcp.models.snapshots import (
    CreateResult,
    RestoreResult,
    SnapshotSummary,
    VirtualMachineSummary,
)
from snapshot_mcp.operations.polling import PollResult
from snapshot_mcp.rules.eligibility import snapshot_obstacle

_ON_DEMAND = "The cloud rejected the contract, so the VM is billed on demand."


def created(waited: PollResult[Snapshot]) -> CreateResult:
    """What became of a snapshot that was ordered."""
    snapshot, trouble = waited
    summary = SnapshotSummary.from_snapshot(snapshot)
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


def restored(
    waited: PollResult[VirtualMachine],
    *,
    contract_rejected: bool,
    rehearsal: bool,
    took_seconds: float,
) -> RestoreResult:
    """What became of a VM that was ordered `took_seconds` ago."""
    vm, trouble = waited
    summary = VirtualMachineSummary.from_virtual_machine(vm, snapshot_obstacle(vm))
    took = None
    match status_word(vm.status):
        case "ACTIVE":
            outcome, took = "restored", round(took_seconds, 1)
            next_step = "" if rehearsal else "It is billed until somebody deletes it."
        case "ERROR":
            outcome, next_step = "failed", "The cloud made the VM but reports an error on it."
        case _:
            outcome = "pending"
            seen = f"It was ordered, but {trouble}." if trouble else "It is not ACTIVE yet."
            next_step = (
                f"{seen} Call list_virtual_machines with search {quoted(vm.name)} to see how it"
                " goes on; do not restore it again."
            )
    said = [next_step, removal(vm) if rehearsal else "", _ON_DEMAND if contract_rejected else ""]
    return RestoreResult(
        outcome=outcome,
        virtual_machine=summary,
        took_seconds=took,
        next_step=" ".join(filter(None, said)),
    )


def removal(vm: VirtualMachine) -> str:
    """How the VM of a rehearsal is removed: by a person, never by this server.

    Source: the vendor's OpenAPI document for the call.
    """
    return (
        f"Tell the person to check VM {vm.id} and then to delete it, in the cloud's console or with"
        f" DELETE /core/virtual-machines/{vm.id} of its API: this server deletes no VMs, and it is"
        " billed until then."
    )
