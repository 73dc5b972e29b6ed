"""delete_snapshot: delete one snapshot for good, after a plan and its approval."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from snapshot_mcp.cloud.client import CloudReader, CloudWriter
from snapshot_mcp.consent.evidence import Approver
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.consent.target import Target, snapshot_target
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
)
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.models.cloud import status_word
from snapshot_mcp.models.snapshots import DeleteResult
from snapshot_mcp.operations.listing import read_snapshots_of_vm
from snapshot_mcp.operations.notifications import announce_change
from snapshot_mcp.operations.planned_write import (
    NEW_PLAN_NEEDED,
    SentWrite,
    WriteContext,
    execute,
)
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import poll_until
from snapshot_mcp.operations.requests import Commit
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import deletion_blast_radius
from snapshot_mcp.rules.eligibility import delete_obstacle

_DELETION_TIMEOUT_SECONDS = 5.0


@dataclass
class DeleteSnapshot:
    """The deletion of one snapshot, by itself or as a part of a batch."""

    tool: ClassVar[Literal["delete_snapshot"]] = "delete_snapshot"
    matches_by_name_only: ClassVar[bool] = False
    snapshot_id: int

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return the write that a row of the ledger describes."""
        return cls(row.target)

    @property
    def intent(self) -> Intent:
        """The tool and the snapshot."""
        return Intent(self.tool, self.snapshot_id, {})

    async def target(self, context: WriteContext) -> Target:
        """Read the snapshot and its siblings, and return what the deletion would affect.

        Raises:
            RefusedError: the snapshot is not finished yet, or the policy protects it.
        """
        snapshot = await context.reader.get_snapshot(self.snapshot_id)
        now = context.clock.now()
        obstacle = delete_obstacle(snapshot, now)
        if obstacle is not None:
            raise RefusedError(
                f"Snapshot {snapshot.id} cannot be deleted now: {obstacle}.",
                f"{NOTHING_CHANGED} Try again when it is finished.",
            )
        siblings = await read_snapshots_of_vm(context.reader, snapshot.vm_id)
        sent = await context.gate.count_sent_last_hour(self.tool)
        enforce_policy(
            rules.check_deletion(context.policy, snapshot, siblings, now, sent_last_hour=sent)
        )
        return snapshot_target(snapshot, deletion_blast_radius(snapshot, siblings, now))

    def send(self, writer: CloudWriter) -> Awaitable[int]:
        """Send the request once."""
        return writer.delete_snapshot(self.snapshot_id)

    async def find_effect(self, reader: CloudReader) -> int | None:
        """Return the id of the snapshot once it is gone or going."""
        try:
            snapshot = await reader.get_snapshot(self.snapshot_id)
        except NotFoundError:
            return self.snapshot_id
        gone = status_word(snapshot.status) in ("DELETING", "DELETED")
        return self.snapshot_id if gone else None


async def delete_snapshot(
    context: WriteContext, snapshot_id: int, commit: Commit, approver: Approver
) -> DeleteResult:
    """Plan a deletion, or commit a plan.

    Raises:
        RefusedError: consent is not valid, or as `DeleteSnapshot.target`; nothing was sent.
        CloudError: the cloud refused, or could not be reached.
    """
    try:
        executed = await execute(context, DeleteSnapshot(snapshot_id), commit, approver)
    except NotDoneError as error:
        return DeleteResult(
            outcome="failed", snapshot_id=snapshot_id, next_step=f"{error} {NEW_PLAN_NEEDED}"
        )
    except OutcomeUnknownError as error:
        how_to_check = (
            f"Call inspect_snapshot with {snapshot_id}: if it is not found, it was deleted."
        )
        return DeleteResult(
            outcome="unknown", snapshot_id=snapshot_id, next_step=f"{error} {how_to_check}"
        )
    if not isinstance(executed, SentWrite):
        planned = DeleteResult(outcome="confirmation_required", snapshot_id=snapshot_id)
        return planned.model_copy(update=executed)
    if await _wait_until_gone(context, snapshot_id):
        await announce_change(snapshot_id, executed.radius.vm_id)
        return DeleteResult(
            outcome="deleted", snapshot_id=snapshot_id, next_step="Nothing more to do."
        )
    return DeleteResult(
        outcome="pending",
        snapshot_id=snapshot_id,
        next_step=(
            "The cloud accepted the deletion, but has not confirmed it yet. Call"
            f" inspect_snapshot with {snapshot_id} later: if it is not found, it was deleted."
        ),
    )


async def _wait_until_gone(context: WriteContext, snapshot_id: int) -> bool:
    async def is_gone() -> bool:
        try:
            await context.plain_reader.get_snapshot(snapshot_id)
        except NotFoundError:
            return True
        return False

    polled = await poll_until(
        False,  # noqa: FBT003 - the first state: not gone yet
        is_gone,
        bool,
        lambda _gone: f"Snapshot {snapshot_id} is being deleted",
        seconds=_DELETION_TIMEOUT_SECONDS,
        clock=context.clock,
    )
    return polled.last
