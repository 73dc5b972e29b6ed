"""Retention: a plan over many snapshots, and its commit after consent."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.evidence import Approver, approves_in_panel
from snapshot_mcp.consent.gate import Gate
from snapshot_mcp.consent.plan_tokens import Intent, digest
from snapshot_mcp.consent.target import BatchTarget
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.retention import (
    RetentionDecision,
    RetentionPlan,
    RetentionReport,
)
from snapshot_mcp.operations.cursors import PageBuilder, Position, position_of
from snapshot_mcp.operations.listing import all_snapshots, snapshots_of_vm
from snapshot_mcp.operations.policy_check import APPROVE_IN_PANEL, enforce_policy
from snapshot_mcp.operations.requests import RetentionRequest
from snapshot_mcp.operations.retention_question import retention_question
from snapshot_mcp.operations.retention_run import PlannedSnapshot, RetentionRun
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.cost import estimate_monthly_cost
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention import Decision, decide_retention
from snapshot_mcp.rules.retention_batch import (
    MAX_BATCH_SIZE,
    Batch,
    confirmation_words,
    drift_facts,
    may_delete_last_copy,
    plan_batch,
    total_gigabytes,
)
from snapshot_mcp.rules.retention_policy import RetentionPolicy, parse_span

_INTENT = Intent("apply_retention", 0, {})
_TARGETS = "targets"
_ASK_THE_PERSON = (
    "Nothing was changed yet. Show this plan to the person and ask whether they agree. Only if they"
    " do, call apply_retention with plan_token and the words they agreed to as confirm."
)


class RetentionOperations:
    """The two operations of retention.

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

    async def plan(
        self, order: RetentionRequest, limit: int, cursor: str, person: Approver
    ) -> RetentionPlan:
        """Decide on every snapshot; a plan for those that go, if there are any.

        Only the first page makes a plan. A later one shows more of the same decisions, and is
        refused when they would be others now.

        Raises:
            RefusedError: the policy keeps nothing, no deletion is allowed in this hour, or the
                cursor is not of these decisions.
            CloudError: the list could not be had.
        """
        wanted = _policy_of(order)
        history = await self._history(order.vm_id)
        decisions = await anyio.to_thread.run_sync(self._decide, history, wanted, self._clock.now())
        planned = await self._batch(decisions, person)
        shown = PageBuilder[Decision](limit, _after(cursor, order, planned))
        for place, decision in enumerate(planned.decisions):
            shown.add((0, place), decision)
        ask = APPROVE_IN_PANEL if approves_in_panel(person) else _ASK_THE_PERSON
        answer = _answer(planned, shown.entries, shown.cursor(_named(order, planned)), ask)
        if not planned.delete_count:
            return answer
        if cursor:
            told = "This is more of the plan whose token came with its first page."
            return answer.model_copy(update={"next_step": told})
        target = _target(planned, order)
        fields = await self._gate.plan(
            _INTENT, target, person, {_TARGETS: _written(planned.to_delete)}
        )
        return answer.model_copy(update=fields)

    async def apply(self, plan_token: str, confirm: str, person: Approver) -> RetentionReport:
        """Delete what a plan names, one by one, after consent; what drifted is left out.

        Raises:
            RefusedError: without valid consent; nothing was sent.
            CloudError: the list could not be had; nothing was sent.
        """
        async with self._gate.recording_refusals(_INTENT, person, plan_token):
            plan = await self._gate.check_commit(_INTENT, plan_token, confirm, person)
            if plan is None:
                raise RefusedError(
                    "plan_token and confirm are missing.",
                    f"{NOTHING_CHANGED} Call plan_retention for a plan.",
                )
            targets = [
                PlannedSnapshot.read(it)
                for it in await self._gate.planned_arguments(plan, _TARGETS)
            ]
            history = await all_snapshots(self._reader)
            run = RetentionRun(
                targets, history, self._reader, self._gate, self._clock, self._policy
            )
            if not run.expected:
                return run.nothing_done()
            target = BatchTarget(
                state=plan.state,
                confirm_with=confirmation_words(len(targets)),
                question=retention_question(run.expected, len(targets)),
                summary="",
            )
            evidence = await self._gate.gather_evidence(_INTENT, plan, target, confirm, person)
            permit = self._gate.permit(_INTENT, plan, evidence, person)
            await self._gate.record_start(permit)
        return await run.execute(permit)

    async def _history(self, vm_id: int) -> list[Snapshot]:
        if vm_id:
            return await snapshots_of_vm(self._reader, vm_id)
        return await all_snapshots(self._reader)

    def _decide(
        self, history: Sequence[Snapshot], wanted: RetentionPolicy, now: datetime
    ) -> list[Decision]:
        of_vm: dict[int | None, list[Snapshot]] = {}
        for snapshot in history:
            of_vm.setdefault(snapshot.vm_id, []).append(snapshot)

        def protected(snapshot: Snapshot) -> str | None:
            siblings = of_vm[snapshot.vm_id]
            ruling = rules.check_protection(self._policy, snapshot, siblings, now)
            return None if ruling is None else f"{ruling.explanation} Rule: {ruling.rule}."

        return decide_retention(
            history,
            wanted,
            now=now,
            find_protection=protected,
            may_delete_last_copy=may_delete_last_copy(self._policy),
        )

    async def _batch(self, decisions: Sequence[Decision], person: Approver) -> Batch:
        """As many deletions as a plan may have, and as the operator allows in this hour."""
        limit = self._policy.limits.deletes_per_hour
        if limit is None or all(it.keep for it in decisions):
            return plan_batch(decisions, MAX_BATCH_SIZE)
        sent = await self._gate.count_sent_last_hour("delete_snapshot")
        async with self._gate.recording_refusals(_INTENT, person, plan_token=""):
            enforce_policy(rules.check_deletion_limit(self._policy, sent))
        return plan_batch(decisions, min(MAX_BATCH_SIZE, limit - sent))


def _policy_of(order: RetentionRequest) -> RetentionPolicy:
    wanted = RetentionPolicy(
        keep_last=order.keep_last,
        keep_hourly=order.keep_hourly,
        keep_daily=order.keep_daily,
        keep_weekly=order.keep_weekly,
        keep_monthly=order.keep_monthly,
        keep_yearly=order.keep_yearly,
        keep_within=parse_span(order.keep_within) if order.keep_within else None,
        keep_labels=order.keep_labels,
        group_by=order.group_by,
        time_zone=ZoneInfo(order.time_zone),
    )
    if wanted.is_empty:
        raise RefusedError(
            "The policy is empty: it says of nothing that it is kept.",
            f"{NOTHING_CHANGED} Ask the person what to keep, and give it in the keep_ arguments.",
        )
    return wanted


def _named(order: RetentionRequest, planned: Batch) -> object:
    """What a cursor is bound to: the arguments, and every decision."""
    return [order, [(it.snapshot.id, it.keep, it.reasons) for it in planned.decisions]]


def _after(cursor: str, order: RetentionRequest, planned: Batch) -> Position | None:
    try:
        return position_of(cursor, _named(order, planned))
    except RefusedError as error:
        raise RefusedError(
            "The cursor is not one of these decisions: the arguments are others, or snapshots"
            " changed since.",
            f"{NOTHING_CHANGED} Leave the cursor out for a new plan.",
        ) from error


def _answer(planned: Batch, page: Sequence[Decision], next_cursor: str, ask: str) -> RetentionPlan:
    size = total_gigabytes(planned.to_delete)
    return RetentionPlan(
        outcome="confirmation_required" if planned.delete_count else "nothing_to_delete",
        decisions=tuple(map(_told, page)),
        next_cursor=next_cursor,
        total=len(planned.decisions),
        keep_count=len(planned.decisions) - planned.delete_count,
        delete_count=planned.delete_count,
        left_for_later=planned.postponed_count or None,
        reclaimed_gb=size,
        saved_per_month_estimate=estimate_monthly_cost(size),
        next_step=_next_step(planned, ask),
    )


def _next_step(planned: Batch, ask: str) -> str:
    if not planned.delete_count:
        return "Nothing to delete: everything is kept."
    if not planned.postponed_count:
        return ask
    more = f" {planned.postponed_count} more would go: after this plan, a new one takes the oldest"
    return f"{ask}{more} of them."


def _told(decision: Decision) -> RetentionDecision:
    snapshot = decision.snapshot
    return RetentionDecision(
        id=snapshot.id,
        name=snapshot.name,
        vm_id=snapshot.vm_id,
        vm_name=snapshot.vm_name,
        state=snapshot.state,
        size=snapshot.size,
        created_at=snapshot.created_at,
        keep=decision.keep,
        reasons=decision.reasons,
        group=decision.group,
    )


def _target(planned: Batch, order: RetentionRequest) -> BatchTarget:
    asked: Mapping[str, object] = order._asdict()
    written = ", ".join(f"{name} {value}" for name, value in asked.items() if value)
    size = total_gigabytes(planned.to_delete)
    return BatchTarget(
        state=digest(_written(planned.to_delete)),
        confirm_with=confirmation_words(planned.delete_count),
        question="",
        summary=f"{planned.delete_count} of {len(planned.decisions)}, {size} GB; {written}",
    )


def _written(going: Sequence[Snapshot]) -> list[str]:
    return [PlannedSnapshot(it.id, digest(drift_facts(it))).written for it in going]
