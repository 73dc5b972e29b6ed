"""create_snapshot: take a snapshot of a VM. It needs no plan, because it destroys nothing."""

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Self, cast

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.writer import CloudWriter
from snapshot_mcp.consent.evidence import Approver
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    CloudError,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    RefusedError,
)
from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.ledger.chain import Row, attempt_from_row
from snapshot_mcp.models.cloud import Snapshot, status_word
from snapshot_mcp.models.snapshots import CreateResult, SnapshotSummary
from snapshot_mcp.operations.listing import read_all_snapshots
from snapshot_mcp.operations.notifications import announce_change, build_announcing_fetch
from snapshot_mcp.operations.own_writes import RecentWrite
from snapshot_mcp.operations.planned_write import RETRY_ALLOWED, WriteContext, execute_without_plan
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import PollResult, poll_until
from snapshot_mcp.operations.requests import CreateSnapshotRequest
from snapshot_mcp.operations.stored_facts import StoredFacts, compare_stored
from snapshot_mcp.operations.used_names import (
    SNAPSHOT_NAME,
    check_name_unused,
    find_uses,
    name_taken_error,
)
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.eligibility import snapshot_obstacle, would_interrupt


@dataclass
class CreateSnapshot:
    """The creation of one snapshot.

    Attributes:
        request: the VM and the snapshot.
        interrupts: whether it interrupts the VM, as far as is known.
        earlier: the equal call whose result is returned instead; None if the request was sent.
    """

    tool: ClassVar[Literal["create_snapshot"]] = "create_snapshot"
    request: CreateSnapshotRequest
    interrupts: bool = False
    earlier: RecentWrite | None = None

    @classmethod
    def from_row(cls, row: Row) -> Self | None:
        """Return the write that a row of the ledger describes; None if the name is missing."""
        arguments = attempt_from_row(row).arguments
        name, labels = arguments.get("name"), cast("list[str]", arguments.get("labels", []))
        if not name:
            return None
        description = str(arguments.get("description", ""))
        return cls(
            CreateSnapshotRequest(
                row.target, str(name), description, labels, allow_interruption=False
            )
        )

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
        name = self.request.name
        await check_name_unused(context.reader.own_writes, SNAPSHOT_NAME, name)
        if not await context.reader.is_snapshot_name_available(name):
            raise name_taken_error(SNAPSHOT_NAME, name, await _find_id(context.reader, name))
        vm = await context.reader.get_virtual_machine(self.request.vm_id)
        enforce_policy(rules.check_creation(context.policy, rules.vm_region(vm)))
        obstacle = snapshot_obstacle(vm)
        if obstacle is not None:
            raise RefusedError(
                f"VM {vm.id} cannot be snapshotted now: {obstacle}.", NOTHING_CHANGED
            )
        self.interrupts = would_interrupt(vm)
        if self.interrupts and not self.request.allow_interruption:
            status = cell_text(vm.status)
            raise RefusedError(
                f"VM {vm.id} is {status}: the cloud shuts it off for the snapshot and starts it"
                " again, which interrupts what runs on it.",
                f"{NOTHING_CHANGED} Ask the person; if they accept that, set allow_interruption.",
            )

    async def find_earlier(self, context: WriteContext) -> Snapshot | None:
        """Return the snapshot of an equal call of the last minutes as it is now, if there is one.

        Raises:
            OutcomeUnknownError: there is such a call, and its outcome is not known.
            CloudError: its snapshot could not be read.
        """
        reader, name = context.reader, self.request.name
        for earlier in await find_uses(reader.own_writes, SNAPSHOT_NAME, name):
            if not context.gate.is_repetition(self.intent, earlier.row):
                continue
            if earlier.result_id is None:
                raise OutcomeUnknownError(
                    f"An equal call was sent at {earlier.sent_at:%H:%M} UTC, and its outcome is not"
                    " known. Nothing was sent now."
                )
            try:
                snapshot = await reader.get_snapshot(earlier.result_id)
            except NotFoundError:  # the cloud may not show it yet
                snapshot = Snapshot(id=earlier.result_id, name=name, vm_id=self.request.vm_id)
            if snapshot.state == "deleting":
                return None
            self.earlier, self.interrupts = earlier, self.request.allow_interruption
            return snapshot
        return None

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

    def remark(self, result: object) -> str:
        """Return which labels were not stored, and whether another description was."""
        return self.compare(result).remark if isinstance(result, Snapshot) else ""

    def compare(self, snapshot: Snapshot) -> StoredFacts:
        """Compare a snapshot with the request."""
        return compare_stored(snapshot, self.request.labels, self.request.description)


async def create_snapshot(
    context: WriteContext, request: CreateSnapshotRequest, wait_seconds: int, approver: Approver
) -> CreateResult:
    """Take a snapshot of a VM, and wait until it is ready or the time is over.

    Raises:
        RefusedError: as `CreateSnapshot.check`; nothing was sent.
        CloudError: the cloud refused, or could not be reached.
    """
    write = CreateSnapshot(request)
    try:
        first = await execute_without_plan(
            context, write, approver, partial(write.find_earlier, context)
        )
    except NotDoneError as error:
        return CreateResult(outcome="failed", next_step=f"{error} {RETRY_ALLOWED}")
    except OutcomeUnknownError as error:
        name = quoted(request.name)
        how_to_check = f"Call list_snapshots with search {name}: if it is there, it was created."
        return CreateResult(outcome="unknown", next_step=f"{error} {how_to_check}")
    if write.earlier is None:
        await announce_change(first.id, request.vm_id)
    polled = await poll_until(
        first,
        build_announcing_fetch(first, lambda: context.plain_reader.get_snapshot(first.id)),
        lambda latest: latest.state in ("ready", "failed"),
        lambda latest: f"Snapshot {latest.id} is {cell_text(latest.status)}",
        seconds=wait_seconds,
        clock=context.clock,
    )
    result = _build_result(polled)
    stored = await _compare_stored(context, write, first, polled.last)
    vm_status, vm_sentence = None, ""
    if write.interrupts:
        vm_status, vm_sentence = await _read_vm(context, write, polled.last)
    repeated = _describe_repetition(write, polled.last)
    sentences = (repeated, result.next_step, stored.warning, vm_sentence)
    facts = {
        "repeated": bool(repeated) or None,
        "labels_stored": stored.labels_stored,
        "vm_status": vm_status,
        "next_step": " ".join(filter(None, sentences)),
    }
    return result.model_copy(update=facts)


async def _find_id(reader: CloudReader, name: str) -> int | None:
    found = await read_all_snapshots(reader, name)
    return next((snapshot.id for snapshot in found if snapshot.name == name), None)


async def _compare_stored(
    context: WriteContext, write: CreateSnapshot, first: Snapshot, last: Snapshot
) -> StoredFacts:
    """Compare the snapshot with the request; read it again if only the reply is known.

    Args:
        context: the dependencies of the write.
        write: the write.
        first: the snapshot in the reply to the request.
        last: the snapshot as it was last read.
    """
    stored = write.compare(last)
    if stored.needs_confirmation and last is first:
        with suppress(CloudError, ProtocolError):
            stored = write.compare(await context.plain_reader.get_snapshot(first.id))
    return stored if stored.is_known else write.compare(first)


async def _read_vm(
    context: WriteContext, write: CreateSnapshot, snapshot: Snapshot
) -> tuple[str | None, str]:
    """Return the status of the VM after its interruption, and a sentence about it."""
    vm_id = write.request.vm_id
    try:
        vm = await context.plain_reader.get_virtual_machine(vm_id)
    except (CloudError, ProtocolError):
        return None, f"Whether VM {vm_id} is running again is not known."
    status = cell_text(vm.status)
    if snapshot.state not in ("ready", "failed"):
        return vm.status, f"VM {vm_id} is {status} now. The snapshot interrupts it."
    if status_word(vm.status) == "ACTIVE":
        return vm.status, f"VM {vm_id} is running again."
    return vm.status, (
        f"VM {vm_id} is not running again: it is {status}. The cloud starts it after a snapshot;"
        " check it with list_virtual_machines."
    )


def _describe_repetition(write: CreateSnapshot, snapshot: Snapshot) -> str:
    if write.earlier is None:
        return ""
    taken = snapshot.created_at or write.earlier.sent_at
    return (
        f"An equal call made this snapshot, taken {taken:%Y-%m-%d %H:%M} UTC; nothing was sent now."
    )


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
