"""plan_retention and apply_retention: one plan that deletes many snapshots, and its commit."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import anyio

from snapshot_mcp.consent.evidence import Approver, Question
from snapshot_mcp.consent.plan_tokens import Intent, digest
from snapshot_mcp.consent.target import BatchTarget
from snapshot_mcp.core.errors import NOTHING_CHANGED, NotFoundError, RefusedError
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.retention import (
    RetentionDecision,
    RetentionPlan,
    RetentionReport,
)
from snapshot_mcp.operations.cursors import PageBuilder, Position, parse_cursor
from snapshot_mcp.operations.image_users import read_vms_of_images
from snapshot_mcp.operations.listing import (
    collect_snapshots,
    collect_snapshots_of_vm,
    group_by_vm,
    read_all_snapshots,
)
from snapshot_mcp.operations.lookups import MAX_SINGLE_READS, complete_list, read_singles
from snapshot_mcp.operations.pagination import PageCollector
from snapshot_mcp.operations.planned_write import WriteContext, commit_instructions
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.requests import RetentionRequest
from snapshot_mcp.operations.retention_question import retention_question
from snapshot_mcp.operations.retention_run import PlannedSnapshot, RetentionRun
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.blast_radius import describe_image_vms
from snapshot_mcp.rules.cost import estimate_monthly_cost
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention import Decision, decide_retention
from snapshot_mcp.rules.retention_batch import (
    MAX_BATCH_SIZE,
    Batch,
    check_looked_up,
    complete_batch,
    confirmation_words,
    fields_to_know,
    may_delete_last_copy,
    needs_lookup,
    plan_batch,
    total_gigabytes,
)
from snapshot_mcp.rules.retention_policy import GroupBy, RetentionPolicy, parse_span

_INTENT = Intent("apply_retention", 0, {})
_TARGETS = "targets"


class RetentionOperations:
    """The planning and the commit of retention."""

    def __init__(self, context: WriteContext) -> None:
        self._context = context

    async def plan(
        self, request: RetentionRequest, limit: int, cursor: str, approver: Approver
    ) -> RetentionPlan:
        """Decide on every snapshot, and plan the deletions if there are any.

        Only the first page makes a plan. A later page shows more of the same decisions; it is
        refused if the decisions have changed.

        Raises:
            RefusedError: the policy would keep no snapshot, no deletion is allowed in this hour,
                or the cursor belongs to other decisions.
            CloudError: the list of snapshots could not be read.
        """
        policy = _retention_policy(request)
        needed = _fields_to_know(policy, self._context.policy)
        collected = await self._read_history(request.vm_id)
        history = await complete_list(self._context.reader, collected.results, needed)
        now = self._context.clock.now()
        decisions = await anyio.to_thread.run_sync(self._decide, history, policy, now)
        batch = await self._plan_batch(decisions, approver)
        batch = complete_batch(batch, await self._look_up(batch.to_delete, history, now))
        page = PageBuilder[Decision](limit, _cursor_position(cursor, request, batch))
        for index, decision in enumerate(batch.decisions):
            page.add((0, index), decision)
        instructions = commit_instructions(approver, "call apply_retention with plan_token and")
        unknown = _describe_unknown(batch, needed)
        next_cursor = page.next_cursor(_list_key(request, batch))
        shown = await self._note_image_users(page.entries)
        result = _plan_result(batch, shown, next_cursor, _next_step(batch, instructions, unknown))
        # An unreadable entry is not deleted and counts as no copy, so the others are kept longer.
        result = result.model_copy(update={"unreadable": collected.unreadable_count or None})
        if not batch.delete_count:
            return result
        if cursor:
            next_step = "This page continues the plan; its token came with the first page."
            return result.model_copy(update={"next_step": next_step})
        fields = await self._context.gate.plan(
            _INTENT,
            _plan_target(batch, request),
            approver,
            recorded={_TARGETS: _target_entries(batch)},
        )
        return result.model_copy(update=fields)

    async def apply(self, plan_token: str, confirm: str, approver: Approver) -> RetentionReport:
        """Delete the snapshots of a plan one by one, except those that have changed.

        Raises:
            RefusedError: consent is not valid; nothing was sent.
            CloudError: the list of snapshots could not be read; nothing was sent.
        """
        gate = self._context.gate
        async with gate.recording_refusals(_INTENT, approver, plan_token):
            plan = await gate.check_commit(_INTENT, plan_token, confirm, approver)
            if plan is None:
                raise RefusedError(
                    "plan_token and confirm are missing.",
                    f"{NOTHING_CHANGED} Call plan_retention for a plan.",
                )
            entries = await gate.planned_list(plan, _TARGETS)
            if entries is None:
                raise RefusedError(
                    "The ledger's record of this plan is missing or was altered.",
                    f"{NOTHING_CHANGED} Make a new plan.",
                )
            targets = [PlannedSnapshot.parse(entry) for entry in entries]
            history = await self._read_targets(targets)
            run = RetentionRun(self._context, targets, history)
            if not run.expected:
                return run.empty_report()
            users = await read_vms_of_images(self._context.reader, run.expected)
            question = retention_question(run.expected, len(targets), users)
            target = BatchTarget(
                state=plan.state,
                confirm_with=confirmation_words(len(targets)),
                question=Question(question, retention_question(run.expected, len(targets), {})),
                summary="",
            )
            evidence = await gate.gather_evidence(_INTENT, plan, target, confirm, approver)
            permit = gate.permit(_INTENT, plan, evidence, approver)
            await gate.record_start(permit)
        return await run.execute(permit)

    async def _read_history(self, vm_id: int) -> PageCollector[Snapshot]:
        if vm_id:
            return await collect_snapshots_of_vm(self._context.reader, vm_id)
        return await collect_snapshots(self._context.reader)

    async def _note_image_users(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Add the VMs that use an image to the reasons of each deletion that deletes the image."""
        deletions = [decision.snapshot for decision in decisions if not decision.keep]
        users = await read_vms_of_images(self._context.reader, deletions)
        return [
            decision._replace(
                reasons=(*decision.reasons, describe_image_vms(users[decision.snapshot.id]))
            )
            if not decision.keep and decision.snapshot.id in users
            else decision
            for decision in decisions
        ]

    async def _look_up(
        self, deletions: Sequence[Snapshot], history: Sequence[Snapshot], now: datetime
    ) -> dict[int, Snapshot | str]:
        """Read the deletions about which the list omits facts; return each, or why it is kept."""
        policy, by_vm = self._context.policy, group_by_vm(history)
        listed = {entry.id: entry for entry in deletions if needs_lookup(policy, entry)}
        found: dict[int, Snapshot | str] = {}
        singles = await read_singles(self._context.reader, list(listed))
        for snapshot_id, single in singles.items():
            entry = listed[snapshot_id]
            if isinstance(single, Snapshot):
                siblings = by_vm[entry.vm_id]
                found[snapshot_id] = check_looked_up(policy, entry, single, siblings, now) or single
            elif isinstance(single, NotFoundError):
                found[snapshot_id] = "it is already gone"
            else:
                found[snapshot_id] = "facts about it could not be read"
        return found

    async def _read_targets(self, targets: Sequence[PlannedSnapshot]) -> list[Snapshot]:
        """Return all snapshots; the targets about which the list omits facts are read one by one.

        Raises:
            CloudError: the list or a snapshot could not be read.
        """
        history = await read_all_snapshots(self._context.reader)
        ids, policy = {target.id for target in targets}, self._context.policy
        listed = [entry for entry in history if entry.id in ids and needs_lookup(policy, entry)]
        singles = await read_singles(self._context.reader, [entry.id for entry in listed])
        completed: list[Snapshot] = []
        for entry in history:
            single = singles.get(entry.id, entry)
            if isinstance(single, Snapshot):
                completed.append(single)
            elif not isinstance(single, NotFoundError):
                raise single
        return completed

    def _decide(
        self, history: Sequence[Snapshot], policy: RetentionPolicy, now: datetime
    ) -> list[Decision]:
        by_vm = group_by_vm(history)

        def find_protection(snapshot: Snapshot) -> str | None:
            siblings = by_vm[snapshot.vm_id]
            violation = rules.check_protection(self._context.policy, snapshot, siblings, now)
            return None if violation is None else violation.message

        return decide_retention(
            history,
            policy,
            now=now,
            find_protection=find_protection,
            may_delete_last_copy=may_delete_last_copy(self._context.policy),
        )

    async def _plan_batch(self, decisions: Sequence[Decision], approver: Approver) -> Batch:
        """Return a batch within the limits of one plan and of the operator's deletions per hour."""
        gate, policy = self._context.gate, self._context.policy
        limit = policy.limits.deletes_per_hour
        if limit is None or all(decision.keep for decision in decisions):
            return plan_batch(decisions, MAX_BATCH_SIZE)
        sent = await gate.count_sent_last_hour("delete_snapshot")
        async with gate.recording_refusals(_INTENT, approver, plan_token=""):
            enforce_policy(rules.check_hourly_limit(policy, "delete_snapshot", sent))
        return plan_batch(decisions, min(MAX_BATCH_SIZE, limit - sent))


def _retention_policy(request: RetentionRequest) -> RetentionPolicy:
    policy = RetentionPolicy(
        keep_last=request.keep_last,
        keep_hourly=request.keep_hourly,
        keep_daily=request.keep_daily,
        keep_weekly=request.keep_weekly,
        keep_monthly=request.keep_monthly,
        keep_yearly=request.keep_yearly,
        keep_within=parse_span(request.keep_within) if request.keep_within else None,
        keep_labels=request.keep_labels,
        group_by=request.group_by,
        time_zone=ZoneInfo(request.time_zone),
    )
    if policy.is_empty:
        raise RefusedError(
            "The policy is empty: it would keep no snapshot.",
            f"{NOTHING_CHANGED} Ask the person what to keep, and set the keep_ arguments.",
        )
    return policy


def _fields_to_know(policy: RetentionPolicy, operator_policy: Policy) -> frozenset[str]:
    """Return the fields on which the decision about each snapshot depends, and a list may omit."""
    group: Mapping[GroupBy, str] = {"vm": "vm_id", "label": "labels", "region": "region"}
    labels = {"labels"} if policy.keep_labels else set[str]()
    return fields_to_know(operator_policy) | labels | {"vm_id", group[policy.group_by]}


def _list_key(request: RetentionRequest, batch: Batch) -> object:
    """Return the key of the list of decisions, to which its cursors belong."""
    decisions = [
        (decision.snapshot.id, decision.keep, decision.reasons) for decision in batch.decisions
    ]
    return [request, decisions]


def _cursor_position(cursor: str, request: RetentionRequest, batch: Batch) -> Position | None:
    try:
        return parse_cursor(cursor, _list_key(request, batch))
    except RefusedError as error:
        raise RefusedError(
            "The cursor does not belong to these decisions: the arguments differ, or snapshots have"
            " changed.",
            f"{NOTHING_CHANGED} Omit the cursor for a new plan.",
        ) from error


def _plan_result(
    batch: Batch, page: Sequence[Decision], next_cursor: str, next_step: str
) -> RetentionPlan:
    size = total_gigabytes(batch.to_delete)
    return RetentionPlan(
        outcome="confirmation_required" if batch.delete_count else "nothing_to_delete",
        decisions=tuple(map(_decision_result, page)),
        next_cursor=next_cursor,
        total=len(batch.decisions),
        keep_count=len(batch.decisions) - batch.delete_count,
        delete_count=batch.delete_count,
        left_for_later=batch.postponed_count or None,
        reclaimed_gb=size,
        saved_per_month_estimate=estimate_monthly_cost(size),
        next_step=next_step,
    )


def _describe_unknown(batch: Batch, fields: Collection[str]) -> str:
    count = sum(
        any(map(decision.snapshot.is_unknown, fields))
        for decision in batch.decisions[batch.delete_count :]
    )
    if not count:
        return ""
    return (
        f" About {count} of those kept, a fact that the rules need is unknown; at most"
        f" {MAX_SINGLE_READS} are looked up in one call."
    )


def _next_step(batch: Batch, instructions: str, unknown: str) -> str:
    if not batch.delete_count:
        return f"Nothing to delete: everything is kept.{unknown}"
    if not batch.postponed_count:
        return instructions + unknown
    return (
        f"{instructions}{unknown} {batch.postponed_count} more would be deleted: make a"
        " new plan after this one."
    )


def _decision_result(decision: Decision) -> RetentionDecision:
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


def _plan_target(batch: Batch, request: RetentionRequest) -> BatchTarget:
    arguments: dict[str, object] = request._asdict()
    settings = ", ".join(f"{name} {value}" for name, value in arguments.items() if value)
    size = total_gigabytes(batch.to_delete)
    return BatchTarget(
        state=digest(_target_entries(batch)),
        confirm_with=confirmation_words(batch.delete_count),
        question=Question("", ""),
        summary=f"{batch.delete_count} of {len(batch.decisions)}, {size} GB; {settings}",
    )


def _target_entries(batch: Batch) -> list[str]:
    return [str(PlannedSnapshot.from_snapshot(snapshot)) for snapshot in batch.to_delete]
