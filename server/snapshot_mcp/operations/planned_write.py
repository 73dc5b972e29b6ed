"""The path of every write: check its target, pass the gate, send it.

A write that destroys or bills something is planned first; a second call commits the plan.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.evidence import Approver, approves_in_panel
from snapshot_mcp.consent.gate import Gate, Permit
from snapshot_mcp.consent.plan_tokens import Plan
from snapshot_mcp.consent.target import Target, describe_changes
from snapshot_mcp.consent.write import Write
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import NOTHING_CHANGED, NotAcceptedError, TargetChangedError
from snapshot_mcp.models.rehearsals import VmDeletion
from snapshot_mcp.models.snapshots import BlastRadius
from snapshot_mcp.operations.consistent_reader import ConsistentReader
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.requests import Commit
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.policy import Policy

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

RETRY_ALLOWED = "The call can be repeated."
NEW_PLAN_NEEDED = "Ask the person; for a new plan, call without plan_token and confirm."
_APPROVE_IN_PANEL = (
    f"{NOTHING_CHANGED} The panel shows this plan, and the person approves it there: do not call"
    " again to commit it. The panel shows the result."
)
_FACTS = "facts"


class WriteContext(NamedTuple):
    """The dependencies of a write.

    Attributes:
        reader: reads what decides on a write.
        plain_reader: reads whether the effect of a write is visible.
        gate: the only path to the writing half.
        clock: the current time.
        policy: what the operator forbids.
    """

    reader: ConsistentReader
    plain_reader: CloudReader
    gate: Gate
    clock: Clock
    policy: Policy

    def ignoring(self, permit: Permit) -> Self:
        """Return the context for the checks of a write that may have been recorded already."""
        return self._replace(reader=self.reader.ignoring(permit.attempt.id))


class PlannedWrite(Write[T_co], Protocol[T_co]):
    """A write that needs a plan and the approval of a person."""

    def target(self, context: WriteContext) -> Awaitable[Target]:
        """Read the target and return it as it is now.

        Raises:
            RefusedError: the write is not possible or not allowed now.
        """
        ...


class UnplannedWrite(Write[T_co], Protocol[T_co]):
    """A write that destroys nothing and bills no VM."""

    def check(self, context: WriteContext) -> Awaitable[None]:
        """Check that the write is possible and allowed now.

        Raises:
            RefusedError: it is not.
        """
        ...


class SentWrite(NamedTuple, Generic[T]):
    """A write that took effect: its result, and what it affected."""

    result: T
    radius: BlastRadius | VmDeletion


@dataclass
class _Commit(Generic[T]):
    """One commit of a plan, which is refused as soon as its target differs from the plan.

    Attributes:
        context: the dependencies of the write.
        write: the write.
        plan: the plan.
        target: the target as it was last read.
    """

    context: WriteContext
    write: PlannedWrite[T]
    plan: Plan
    target: Target

    @property
    def target_changed(self) -> bool:
        """Whether the target differs from the plan."""
        return self.target.state != self.plan.state

    async def check(self) -> None:
        """Read the target again, and compare it with the plan.

        Raises:
            TargetChangedError: it differs.
            RefusedError: the plan has expired, or as `PlannedWrite.target`.
        """
        self.target = await self.write.target(self.context)
        self.context.gate.check_expiry(self.plan)
        await self.compare()

    async def compare(self) -> None:
        """Compare the target with the plan.

        Raises:
            TargetChangedError: it differs.
        """
        if self.target_changed:
            planned = await self.context.gate.planned_list(self.plan, _FACTS)
            changes = describe_changes(planned, self.target.facts) if planned else ""
            sentence = "The target has changed since the plan was made"
            raise TargetChangedError(f"{sentence}: {changes}." if changes else f"{sentence}.")


async def execute(
    context: WriteContext, write: PlannedWrite[T], commit: Commit, approver: Approver
) -> SentWrite[T] | Mapping[str, object]:
    """Commit the plan of `write`, or make a plan if there is none or its target has changed.

    Returns:
        The result of the write, or the fields of `Planned`.
    """
    gate, intent = context.gate, write.intent
    changes = ""
    async with gate.recording_refusals(intent, approver, commit.plan_token):
        plan = await gate.check_commit(intent, commit.plan_token, commit.confirm, approver)
        target = await write.target(context)
        sent = await gate.count_sent_last_hour(intent.tool)
        enforce_policy(rules.check_hourly_limit(context.policy, intent.tool, sent))
        if plan is not None:
            attempt = _Commit(context, write, plan, target)
            try:
                return await _commit(attempt, commit.confirm, approver)
            except (TargetChangedError, NotAcceptedError) as error:
                if not attempt.target_changed:
                    raise
                target, changes = attempt.target, f"{error.args[0]} This is a new plan. "
        fields = await gate.plan(
            intent, target, approver, recorded={**intent.arguments, _FACTS: target.facts}
        )
    instructions = commit_instructions(
        approver, "call again with the same arguments, plan_token, and"
    )
    return {"plan": target.radius, **fields, "next_step": changes + instructions}


async def _commit(attempt: _Commit[T], confirm: str, approver: Approver) -> SentWrite[T]:
    gate, write, plan = attempt.context.gate, attempt.write, attempt.plan
    await attempt.compare()
    evidence = await gate.gather_evidence(write.intent, plan, attempt.target, confirm, approver)
    # Of two concurrent commits, each could count the other's target as the remaining copy. So the
    # last check and the write happen under one lock.
    async with gate.exclusive():
        await gate.check_unused(plan)
        permit = gate.permit(write.intent, plan, evidence, approver)
        permit = permit.with_creation_time(attempt.target.radius.created_at)
        attempt.context = attempt.context.ignoring(permit)
        result = await gate.send(permit, write, attempt.check)
    return SentWrite(result, attempt.target.radius)


async def _find_nothing() -> None:
    return None


async def execute_without_plan(
    context: WriteContext,
    write: UnplannedWrite[T],
    approver: Approver,
    find_earlier: Callable[[], Awaitable[T | None]] = _find_nothing,
) -> T:
    """Check and send `write` under one lock, so that a second call sees the effect of the first.

    Args:
        context: the dependencies of the write.
        write: the write.
        approver: the person behind the client.
        find_earlier: returns the result of an equal earlier call; then nothing is sent.
    """
    gate, intent = context.gate, write.intent
    async with gate.recording_refusals(intent, approver, plan_token=""), gate.exclusive():
        earlier = await find_earlier()
        if earlier is not None:
            return earlier
        permit = gate.permit_without_plan(intent, approver)
        return await gate.send(permit, write, partial(write.check, context.ignoring(permit)))


def commit_instructions(approver: Approver, call: str) -> str:
    """Return the next step after a plan.

    Args:
        approver: the person behind the client.
        call: the call that commits the plan, up to the confirmation words.
    """
    if approves_in_panel(approver):
        return _APPROVE_IN_PANEL
    return (
        f"{NOTHING_CHANGED} Show this plan to the person and ask whether they agree. Only if they"
        f" do, {call} the words they agreed to as confirm."
    )
