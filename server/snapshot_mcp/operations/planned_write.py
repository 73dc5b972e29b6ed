"""The path of every write: check its target, pass the gate, send it.

A write that destroys or bills something is planned first; a second call commits the plan.
"""

from collections.abc import Awaitable, Mapping
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.evidence import Approver, approves_in_panel
from snapshot_mcp.consent.gate import Gate, Permit
from snapshot_mcp.consent.target import Target
from snapshot_mcp.consent.write import Write
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import NOTHING_CHANGED
from snapshot_mcp.models.snapshots import BlastRadius
from snapshot_mcp.operations.consistent_reader import ConsistentReader
from snapshot_mcp.operations.requests import Commit
from snapshot_mcp.rules.policy import Policy

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

RETRY_ALLOWED = "The call can be repeated."
NEW_PLAN_NEEDED = "Ask the person; for a new plan, call without plan_token and confirm."
_APPROVE_IN_PANEL = (
    f"{NOTHING_CHANGED} The panel shows this plan, and the person approves it there: do not call"
    " again to commit it. The panel shows the result."
)
_TARGET_CHANGED = "The target has changed since the plan was made. This is a new plan. "


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
    radius: BlastRadius


async def execute(
    context: WriteContext, write: PlannedWrite[T], commit: Commit, approver: Approver
) -> SentWrite[T] | Mapping[str, object]:
    """Commit the plan of `write`, or make a plan if there is none or its target has changed.

    Returns:
        The result of the write, or the fields of `Planned`.
    """
    gate, intent = context.gate, write.intent
    async with gate.recording_refusals(intent, approver, commit.plan_token):
        plan = await gate.check_commit(intent, commit.plan_token, commit.confirm, approver)
        target = await write.target(context)
        if plan is not None and plan.state == target.state:
            evidence = await gate.gather_evidence(intent, plan, target, commit.confirm, approver)
            # The target may have changed while the person was answering. Of two concurrent commits,
            # each could count the other's target as the remaining copy. So the last check and the
            # write happen under one lock.
            async with gate.exclusive():
                target = await write.target(context)
                if plan.state == target.state:
                    permit = gate.permit(intent, plan, evidence, approver)
                    return SentWrite(await gate.send(permit, write), target.radius)
        fields = await gate.plan(intent, target, approver)
    instructions = commit_instructions(
        approver, "call again with the same arguments, plan_token, and"
    )
    next_step = (_TARGET_CHANGED if plan else "") + instructions
    return {"plan": target.radius, **fields, "next_step": next_step}


async def execute_without_plan(
    context: WriteContext, write: UnplannedWrite[T], approver: Approver
) -> T:
    """Check and send `write` under one lock, so that a second call sees the effect of the first."""
    gate, intent = context.gate, write.intent
    async with gate.recording_refusals(intent, approver, plan_token=""), gate.exclusive():
        await write.check(context)
        return await gate.send(gate.permit_without_plan(intent, approver), write)


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
