"""delete_snapshot: delete one snapshot for good, after a plan and its approval."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, Self

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.writer import CloudWriter, DeletionReceipt
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
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.snapshots import DeleteResult
from snapshot_mcp.operations.image_users import read_vms_of_image
from snapshot_mcp.operations.listing import read_copies, read_snapshots_of_vm
from snapshot_mcp.operations.lookups import read_snapshot
from snapshot_mcp.operations.notifications import announce_change
from snapshot_mcp.operations.planned_write import (
    NEW_PLAN_NEEDED,
    SentWrite,
    WriteContext,
    execute,
)
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import wait_until_gone
from snapshot_mcp.operations.requests import Commit
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import copies_of, deletion_blast_radius
from snapshot_mcp.rules.eligibility import delete_obstacle

EARLIER_DELETION = "an earlier deletion of this snapshot is still in progress"

_DELETION_TIMEOUT_SECONDS = 5.0


@dataclass
class DeleteSnapshot:
    """The deletion of one snapshot, by itself or as a part of a batch.

    Attributes:
        snapshot_id: id of the snapshot.
        image_vms: the VMs that use an image, by the image's id. They are read once: later checks
            do not wait for facts that only inform.
    """

    tool: ClassVar[Literal["delete_snapshot"]] = "delete_snapshot"
    snapshot_id: int
    image_vms: dict[int, tuple[str, ...] | None] = field(
        default_factory=dict[int, tuple[str, ...] | None]
    )

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return the write that a row of the ledger describes."""
        return cls(row.target)

    @property
    def intent(self) -> Intent:
        """The tool and the snapshot."""
        return Intent(self.tool, self.snapshot_id, {})

    async def target(self, context: WriteContext) -> Target:
        """Return what the deletion would affect.

        The list of its siblings comes first. What decides is read after it, one by one: the copies
        on which the deletion depends, and last the snapshot itself.

        Raises:
            RefusedError: the snapshot is not finished yet or is being deleted, or the policy
                protects it.
        """
        reader, policy = context.reader, context.policy
        snapshot = await self._read(context)
        image_vms = await self._read_image_vms(reader, snapshot)
        siblings = await read_snapshots_of_vm(reader, snapshot.vm_id)
        needed = max(1, policy.protect.keep_newest)
        copies = await read_copies(reader, copies_of(snapshot, siblings), needed)
        if snapshot.vm_id is not None:
            snapshot = await self._read(context)
        now = context.clock.now()
        enforce_policy(rules.check_deletion(policy, snapshot, copies, now))
        radius = deletion_blast_radius(snapshot, siblings, now, copies=copies, image_vms=image_vms)
        return snapshot_target(snapshot, radius)

    async def _read_image_vms(
        self, reader: CloudReader, snapshot: Snapshot
    ) -> tuple[str, ...] | None:
        image = snapshot.custom_image
        if image is None or image.id is None:
            return None
        if image.id not in self.image_vms:
            self.image_vms[image.id] = await read_vms_of_image(reader, snapshot)
        return self.image_vms[image.id]

    async def _read(self, context: WriteContext) -> Snapshot:
        snapshot = await read_snapshot(context.reader, self.snapshot_id)
        obstacle = delete_obstacle(snapshot, context.clock.now())
        if obstacle is not None:
            is_pending = snapshot.state == "pending"
            advice = "Try again when it is finished." if is_pending else _how_to_check(snapshot.id)
            raise RefusedError(
                f"Snapshot {snapshot.id} cannot be deleted now: {obstacle}.",
                f"{NOTHING_CHANGED} {advice}",
            )
        return snapshot

    def send(self, writer: CloudWriter) -> Awaitable[DeletionReceipt]:
        """Send the request once."""
        return writer.delete_snapshot(self.snapshot_id)

    async def find_effect(self, reader: CloudReader) -> DeletionReceipt | None:
        """Return the deletion if the snapshot is gone or being deleted."""
        try:
            snapshot = await reader.get_snapshot(self.snapshot_id)
        except NotFoundError:
            return DeletionReceipt(self.snapshot_id, gone=True)
        return DeletionReceipt(self.snapshot_id) if snapshot.state == "deleting" else None

    def is_certain(self, effect: object) -> bool:
        """Return whether the snapshot is gone; an earlier request may still be deleting it."""
        return isinstance(effect, DeletionReceipt) and effect.gone

    def remark(self, result: object) -> str:
        """Return nothing: there is nothing to compare."""
        del result
        return ""


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
        how_to_check = _how_to_check(snapshot_id)
        if error.effect_visible:
            next_step = f"The cloud refused this deletion: {EARLIER_DELETION}. {how_to_check}"
            return DeleteResult(outcome="pending", snapshot_id=snapshot_id, next_step=next_step)
        return DeleteResult(
            outcome="unknown", snapshot_id=snapshot_id, next_step=f"{error} {how_to_check}"
        )
    if not isinstance(executed, SentWrite):
        planned = DeleteResult(outcome="confirmation_required", snapshot_id=snapshot_id)
        return planned.model_copy(update=executed)
    if await wait_until_gone(
        partial(_is_gone, context.plain_reader, snapshot_id),
        f"Snapshot {snapshot_id}",
        seconds=_DELETION_TIMEOUT_SECONDS,
        clock=context.clock,
    ):
        await announce_change(snapshot_id, executed.radius.vm_id)
        return DeleteResult(
            outcome="deleted", snapshot_id=snapshot_id, next_step="Nothing more to do."
        )
    return DeleteResult(
        outcome="pending",
        snapshot_id=snapshot_id,
        next_step=(
            "The cloud accepted the deletion, but has not confirmed it yet."
            f" {_how_to_check(snapshot_id)}"
        ),
    )


async def _is_gone(reader: CloudReader, snapshot_id: int) -> bool:
    await reader.get_snapshot(snapshot_id)
    return False


def _how_to_check(snapshot_id: int) -> str:
    return f"Call inspect_snapshot with {snapshot_id} later: if it is not found, it was deleted."
