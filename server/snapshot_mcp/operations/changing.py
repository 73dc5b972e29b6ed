"""Create, restore and delete: look first, pass the gate, tell only what was seen."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from snapshot_mcp.cloud.client import CloudReader, CloudWriter, RestoreReceipt
from snapshot_mcp.consent.evidence import Approver, approves_in_panel
from snapshot_mcp.consent.gate import Gate
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.consent.reconcile import EffectLookup
from snapshot_mcp.consent.target import Target, target_state
from snapshot_mcp.core.clock import Clock
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
from snapshot_mcp.ledger.chain import Argument
from snapshot_mcp.models.cloud import Snapshot, status_word
from snapshot_mcp.models.snapshots import (
    BlastRadius,
    CreateResult,
    DeleteResult,
    RestoreResult,
)
from snapshot_mcp.operations.listing import snapshots_of_vm
from snapshot_mcp.operations.notifications import announce, announcing_changes
from snapshot_mcp.operations.outcomes import created, restored
from snapshot_mcp.operations.policy_check import APPROVE_IN_PANEL, enforce_policy
from snapshot_mcp.operations.polling import poll_until
from snapshot_mcp.operations.recovery import (
    find_created_snapshot,
    find_deletion,
    find_restored_vm,
)
from snapshot_mcp.operations.requests import Commit, CreateSnapshotRequest, RestoreSnapshotRequest
from snapshot_mcp.rules import blast_radius as blast
from snapshot_mcp.rules import policy
from snapshot_mcp.rules.eligibility import (
    delete_obstacle,
    restore_obstacle,
    snapshot_obstacle,
    would_interrupt,
)
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.rehearsal import rehearsal_name

T = TypeVar("T")

_ASK_THE_PERSON = (
    "Nothing was changed yet. Show this plan to the person and ask whether they agree. Only if they"
    " do, call again with the same arguments, plan_token, and the words they agreed to as confirm."
)
_DRIFTED = "What the plan was about has changed since, so nothing was done. This is a new plan. "
_MAY_BE_REPEATED = "It may be ordered again."
_PLAN_ANEW = "Ask the person; with neither plan_token nor confirm there is a new plan."
_DELETION_TIMEOUT_SECONDS = 5.0


class SentWrite(NamedTuple, Generic[T]):
    """What the cloud answered to a write that was agreed to, and the target as it was then."""

    answer: T
    target: BlastRadius


class Changes:
    """The three operations that change something.

    Args:
        reader: the reading half of the cloud.
        gate: the way to the writing half.
        clock: the time.
        policy: what the operator forbids, whoever agrees.
    """

    def __init__(self, reader: CloudReader, gate: Gate, clock: Clock, policy: Policy) -> None:
        self._reader = reader
        self._gate = gate
        self._clock = clock
        self._policy = policy

    async def create(
        self, order: CreateSnapshotRequest, wait_seconds: int, person: Approver
    ) -> CreateResult:
        """Take a snapshot of a VM, and wait until it is ready or the time is over.

        Raises:
            RefusedError: the VM cannot be snapshotted now, it would be interrupted without leave,
                or the name is taken; nothing was sent.
            CloudError: the cloud refused, or could not be reached.
        """
        intent = Intent("create_snapshot", order.vm_id, _without_vm(order))
        try:
            async with (
                self._gate.recording_refusals(intent, person, plan_token=""),
                self._gate.exclusive(),
            ):
                # Looked at and sent in one: a second order for this VM sees that it is busy.
                await self._check_creation(order)
                snapshot = await self._gate.send(
                    self._gate.permit_without_plan(intent, person),
                    lambda writer: writer.create_snapshot(
                        order.vm_id, order.name, order.description, order.labels
                    ),
                    lambda: find_created_snapshot(self._reader, order.vm_id, order.name),
                )
        except NotDoneError as error:
            return CreateResult(outcome="failed", next_step=f"{error} {_MAY_BE_REPEATED}")
        except OutcomeUnknownError as error:
            name = quoted(order.name)
            look = f"Call list_snapshots with search {name}: if it is there, it was made."
            return CreateResult(outcome="unknown", next_step=f"{error} {look}")
        await announce(snapshot.id, order.vm_id)
        waited = await poll_until(
            snapshot,
            announcing_changes(snapshot, lambda: self._reader.get_snapshot(snapshot.id)),
            lambda seen: seen.state in ("ready", "failed"),
            lambda seen: f"Snapshot {seen.id} is {cell_text(seen.status)}",
            seconds=wait_seconds,
            clock=self._clock,
        )
        return created(waited)

    async def restore(
        self, order: RestoreSnapshotRequest, commit: Commit, wait_seconds: int, person: Approver
    ) -> RestoreResult:
        """Plan a restore, or carry out a plan and wait until the new VM is ACTIVE.

        Raises:
            RefusedError: without valid consent, for a snapshot that is not ready, or for a name
                that a VM has already; nothing was sent.
            CloudError: the cloud refused, or could not be reached.
        """
        if order.rehearsal:
            order = order._replace(new_vm_name=rehearsal_name(order.new_vm_name))
        intent = Intent("restore_snapshot", order.snapshot_id, _without_snapshot(order))
        ordered_at = 0.0

        def write(writer: CloudWriter) -> Awaitable[RestoreReceipt]:
            nonlocal ordered_at
            ordered_at = self._clock.monotonic()
            return writer.restore_snapshot(order.snapshot_id, order.new_vm_name, order.contract_id)

        try:
            seen = await self._carry_out(
                intent,
                commit,
                person,
                lambda: self._restore_target(order),
                write,
                lambda: self._restored(order.new_vm_name),
                others_differ=True,  # a VM of that name may hold any snapshot
            )
        except NotDoneError as error:
            return RestoreResult(outcome="failed", next_step=f"{error} {_PLAN_ANEW}")
        except OutcomeUnknownError as error:
            name = quoted(order.new_vm_name)
            look = (
                f"Call list_virtual_machines with search {name}: if it is there, it was made, and"
                " is billed until somebody deletes it."
            )
            return RestoreResult(outcome="unknown", next_step=f"{error} {look}")
        if not isinstance(seen, SentWrite):
            return RestoreResult(outcome="confirmation_required").model_copy(update=seen)
        return await self._followed(order, seen.answer, ordered_at, wait_seconds)

    async def _followed(
        self,
        order: RestoreSnapshotRequest,
        receipt: RestoreReceipt,
        ordered_at: float,
        wait_seconds: int,
    ) -> RestoreResult:
        """What became of a restore that was accepted, after a wait for its VM."""
        waited = await poll_until(
            receipt.virtual_machine,
            lambda: self._reader.get_virtual_machine(receipt.virtual_machine.id),
            lambda seen: status_word(seen.status) in ("ACTIVE", "ERROR"),
            lambda seen: f"VM {seen.id} is {cell_text(seen.status)}",
            seconds=wait_seconds,
            clock=self._clock,
        )
        return restored(
            waited,
            contract_rejected=receipt.contract_rejected,
            rehearsal=order.rehearsal,
            took_seconds=self._clock.monotonic() - ordered_at,
        )

    async def delete(self, snapshot_id: int, commit: Commit, person: Approver) -> DeleteResult:
        """Plan a deletion, or carry out a plan.

        Raises:
            RefusedError: without valid consent, or for a snapshot that is not finished yet;
                nothing was sent.
            CloudError: the cloud refused, or could not be reached.
        """
        intent = Intent("delete_snapshot", snapshot_id, {})
        try:
            seen = await self._carry_out(
                intent,
                commit,
                person,
                lambda: self._delete_target(snapshot_id),
                lambda writer: writer.delete_snapshot(snapshot_id),
                lambda: find_deletion(self._reader, snapshot_id),
            )
        except NotDoneError as error:
            return DeleteResult(
                outcome="failed", snapshot_id=snapshot_id, next_step=f"{error} {_PLAN_ANEW}"
            )
        except OutcomeUnknownError as error:
            look = f"Call inspect_snapshot with {snapshot_id}: if it is not found, it was deleted."
            return DeleteResult(
                outcome="unknown", snapshot_id=snapshot_id, next_step=f"{error} {look}"
            )
        if not isinstance(seen, SentWrite):
            answer = DeleteResult(outcome="confirmation_required", snapshot_id=snapshot_id)
            return answer.model_copy(update=seen)
        return await self._deleted(snapshot_id, seen.target.vm_id)

    async def _carry_out(
        self,
        intent: Intent,
        commit: Commit,
        person: Approver,
        look: Callable[[], Awaitable[Target]],
        write: Callable[[CloudWriter], Awaitable[T]],
        effect: EffectLookup[T],
        *,
        others_differ: bool = False,
    ) -> SentWrite[T] | Mapping[str, object]:
        """Carry out what was planned; or the fields of a plan, new or made anew."""
        async with self._gate.recording_refusals(intent, person, commit.plan_token):
            plan = await self._gate.check_commit(intent, commit.plan_token, commit.confirm, person)
            target = await look()
            if plan is not None and plan.state == target.state:
                evidence = await self._gate.gather_evidence(
                    intent, plan, target, commit.confirm, person
                )
                # A person takes their time, and two commits may each take the other's target for
                # the copy that is left: the last look and the write are one, and one at a time.
                async with self._gate.exclusive():
                    target = await look()
                    if plan.state == target.state:
                        permit = self._gate.permit(intent, plan, evidence, person)
                        answer = await self._gate.send(
                            permit, write, effect, others_differ=others_differ
                        )
                        return SentWrite(answer, target.radius)
            fields = await self._gate.plan(intent, target, person)
        ask = APPROVE_IN_PANEL if approves_in_panel(person) else _ASK_THE_PERSON
        next_step = (_DRIFTED if plan else "") + ask
        return {"plan": target.radius, **fields, "next_step": next_step}

    async def _restored(self, name: str) -> RestoreReceipt | None:
        vm = await find_restored_vm(self._reader, name)
        return None if vm is None else RestoreReceipt(vm, contract_rejected=False)

    async def _check_creation(self, order: CreateSnapshotRequest) -> None:
        vm = await self._reader.get_virtual_machine(order.vm_id)
        enforce_policy(policy.check_creation(self._policy, policy.vm_region(vm)))
        obstacle = snapshot_obstacle(vm)
        if obstacle is not None:
            raise RefusedError(
                f"VM {vm.id} cannot be snapshotted now: {obstacle}.", NOTHING_CHANGED
            )
        if would_interrupt(vm) and not order.allow_interruption:
            status = cell_text(vm.status)
            raise RefusedError(
                f"VM {vm.id} is {status}: the cloud shuts it off for the snapshot and starts it"
                " again, which interrupts what runs on it.",
                f"{NOTHING_CHANGED} Ask the person; allow_interruption says that they accept it.",
            )
        if not await self._reader.is_snapshot_name_available(order.name):
            raise RefusedError(
                f"A snapshot named {quoted(order.name)} exists already.",
                f"{NOTHING_CHANGED} Choose another name.",
            )

    async def _restore_target(self, order: RestoreSnapshotRequest) -> Target:
        snapshot = await self._reader.get_snapshot(order.snapshot_id)
        sent = await self._gate.count_sent_last_hour("restore_snapshot")
        enforce_policy(policy.check_restore(self._policy, snapshot, sent_last_hour=sent))
        obstacle = restore_obstacle(snapshot)
        if obstacle is not None:
            raise RefusedError(
                f"Snapshot {snapshot.id} cannot be restored now: {obstacle}.", NOTHING_CHANGED
            )
        same_name = await find_restored_vm(self._reader, order.new_vm_name)
        if same_name is not None:
            raise RefusedError(
                f"A VM named {quoted(order.new_vm_name)} exists already.",
                f"{NOTHING_CHANGED} Choose another name.",
            )
        radius = blast.restore_blast_radius(
            snapshot,
            order.new_vm_name,
            await self._prices(),
            self._clock.now(),
            rehearsal=order.rehearsal,
        )
        return _target(snapshot, radius)

    async def _prices(self) -> Mapping[str, float]:
        try:
            return await self._reader.get_prices()
        except (CloudError, ProtocolError):
            return {}  # the plan says that the price is not known

    async def _delete_target(self, snapshot_id: int) -> Target:
        snapshot = await self._reader.get_snapshot(snapshot_id)
        obstacle = delete_obstacle(snapshot)
        if obstacle is not None:
            raise RefusedError(
                f"Snapshot {snapshot.id} cannot be deleted now: {obstacle}.",
                f"{NOTHING_CHANGED} Try again when it is finished.",
            )
        siblings = await snapshots_of_vm(self._reader, snapshot.vm_id)
        sent, now = await self._gate.count_sent_last_hour("delete_snapshot"), self._clock.now()
        enforce_policy(
            policy.check_deletion(self._policy, snapshot, siblings, now, sent_last_hour=sent)
        )
        return _target(snapshot, blast.deletion_blast_radius(snapshot, siblings, now))

    async def _deleted(self, snapshot_id: int, vm_id: int | None) -> DeleteResult:
        async def is_gone() -> bool:
            try:
                await self._reader.get_snapshot(snapshot_id)
            except NotFoundError:
                return True
            return False

        waited = await poll_until(
            False,  # noqa: FBT003 - what was last seen: it was there
            is_gone,
            bool,
            lambda _gone: f"Snapshot {snapshot_id} is being deleted",
            seconds=_DELETION_TIMEOUT_SECONDS,
            clock=self._clock,
        )
        if waited.last:
            await announce(snapshot_id, vm_id)
            return DeleteResult(
                outcome="deleted", snapshot_id=snapshot_id, next_step="Nothing more to do."
            )
        return DeleteResult(
            outcome="pending",
            snapshot_id=snapshot_id,
            next_step=(
                "The cloud accepted the deletion, but it was not seen to be done yet. Call"
                f" inspect_snapshot with {snapshot_id} later: if it is not found, it was deleted."
            ),
        )


def _without_vm(order: CreateSnapshotRequest) -> dict[str, Argument]:
    return {key: value for key, value in order._asdict().items() if key != "vm_id"}


def _without_snapshot(order: RestoreSnapshotRequest) -> dict[str, Argument]:
    others = {key: value for key, value in order._asdict().items() if key != "snapshot_id"}
    return others | {"contract_id": order.contract_id or 0}


def _target(snapshot: Snapshot, radius: BlastRadius) -> Target:
    words = snapshot.name if snapshot.name_is_plain else str(snapshot.id)
    return Target(target_state(snapshot, radius), words, radius)
