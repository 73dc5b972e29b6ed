"""create_snapshot: take a snapshot of a VM. It needs no plan, because it destroys nothing."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from snapshot_mcp.cloud.client import CloudReader, CloudWriter
from snapshot_mcp.consent.evidence import Approver
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    NotDoneError,
    OutcomeUnknownError,
    RefusedError,
)
from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.ledger.chain import Row, attempt_from_row
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.snapshots import CreateResult, SnapshotSummary
from snapshot_mcp.operations.listing import read_all_snapshots
from snapshot_mcp.operations.notifications import announce_change, build_announcing_fetch
from snapshot_mcp.operations.planned_write import RETRY_ALLOWED, WriteContext, execute_without_plan
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import PollResult, poll_until
from snapshot_mcp.operations.requests import CreateSnapshotRequest
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.eligibility import snapshot_obstacle, would_interrupt


@dataclass
class CreateSnapshot:
    """The creation of one snapshot."""

    tool: ClassVar[Literal["create_snapshot"]] = "create_snapshot"
    request: CreateSnapshotRequest

    @classmethod
    def from_row(cls, row: Row) -> Self | None:
        """Return the write that a row of the ledger describes; None if the name is missing."""
        name = attempt_from_row(row).arguments.get("name")
        if not name:
            return None
        return cls(CreateSnapshotRequest(row.target, str(name), "", [], allow_interruption=False))

    @property
    def intent(self) -> Intent:
        """The tool, the VM, and every other argument."""
        arguments = self.request._asdict()
        del arguments["vm_id"]
        return Intent(self.tool, self.request.vm_id, arguments)

    async def check(self, context: WriteContext) -> None:
        """Check that the name is free, and that the VM can be snapshotted now.

        Raises:
            RefusedError: it cannot, it would be interrupted without permission, or the name is
                taken.
        """
        if not await context.reader.is_snapshot_name_available(self.request.name):
            raise RefusedError(
                f"A snapshot named {quoted(self.request.name)} exists already.",
                f"{NOTHING_CHANGED} Choose another name.",
            )
        vm = await context.reader.get_virtual_machine(self.request.vm_id)
        enforce_policy(rules.check_creation(context.policy, rules.vm_region(vm)))
        obstacle = snapshot_obstacle(vm)
        if obstacle is not None:
            raise RefusedError(
                f"VM {vm.id} cannot be snapshotted now: {obstacle}.", NOTHING_CHANGED
            )
        if would_interrupt(vm) and not self.request.allow_interruption:
            status = cell_text(vm.status)
            raise RefusedError(
                f"VM {vm.id} is {status}: the cloud shuts it off for the snapshot and starts it"
                " again, which interrupts what runs on it.",
                f"{NOTHING_CHANGED} Ask the person; if they accept that, set allow_interruption.",
            )

    def send(self, writer: CloudWriter) -> Awaitable[Snapshot]:
        """Send the request once."""
        request = self.request
        return writer.create_snapshot(
            request.vm_id, request.name, request.description, request.labels
        )

    async def find_effect(self, reader: CloudReader) -> Snapshot | None:
        """Return the snapshot of this VM with this name, which is unique."""
        for snapshot in await read_all_snapshots(reader, self.request.name):
            if (snapshot.name, snapshot.vm_id) == (self.request.name, self.request.vm_id):
                return snapshot
        return None

    def is_certain(self, effect: object) -> bool:
        """Return True: the name was free, and is unique."""
        del effect
        return True


async def create_snapshot(
    context: WriteContext, request: CreateSnapshotRequest, wait_seconds: int, approver: Approver
) -> CreateResult:
    """Take a snapshot of a VM, and wait until it is ready or the time is over.

    Raises:
        RefusedError: as `CreateSnapshot.check`; nothing was sent.
        CloudError: the cloud refused, or could not be reached.
    """
    try:
        snapshot = await execute_without_plan(context, CreateSnapshot(request), approver)
    except NotDoneError as error:
        return CreateResult(outcome="failed", next_step=f"{error} {RETRY_ALLOWED}")
    except OutcomeUnknownError as error:
        name = quoted(request.name)
        how_to_check = f"Call list_snapshots with search {name}: if it is there, it was created."
        return CreateResult(outcome="unknown", next_step=f"{error} {how_to_check}")
    await announce_change(snapshot.id, request.vm_id)
    polled = await poll_until(
        snapshot,
        build_announcing_fetch(snapshot, lambda: context.plain_reader.get_snapshot(snapshot.id)),
        lambda latest: latest.state in ("ready", "failed"),
        lambda latest: f"Snapshot {latest.id} is {cell_text(latest.status)}",
        seconds=wait_seconds,
        clock=context.clock,
    )
    return _build_result(polled)


def _build_result(polled: PollResult[Snapshot]) -> CreateResult:
    snapshot, problem = polled
    summary = SnapshotSummary.from_snapshot(snapshot)
    match snapshot.state:
        case "ready":
            return CreateResult(
                outcome="created", snapshot=summary, next_step="It can be restored now."
            )
        case "failed":
            return CreateResult(
                outcome="failed",
                snapshot=summary,
                next_step="The cloud reports that it failed: it cannot be restored.",
            )
        case _:
            status = f"The cloud accepted it, but {problem}." if problem else "It is not ready yet."
            instruction = (
                f"Call inspect_snapshot with {snapshot.id} to follow it; do not create it again."
            )
            return CreateResult(
                outcome="pending", snapshot=summary, next_step=f"{status} {instruction}"
            )
