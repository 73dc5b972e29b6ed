"""The gate: the only path of a write to the cloud, recorded in the ledger before it is sent.

The checks of a commit come in this order:

1. The client can give the evidence that the operator requires.
2. The plan token is authentic, made for this call, unused and not expired.
3. The target has not changed since the plan.
4. The confirmation words are those of the plan.
5. The person approves, if the client can ask one.

Then the third check is made again, the attempt is recorded, the write is sent, and its outcome is
recorded. If the cloud does not accept the write yet, each repetition begins with that check.
"""

import hmac
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Literal, NamedTuple, TypeVar, cast

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.writer import CloudWriter
from snapshot_mcp.consent.change_queue import ChangeQueue
from snapshot_mcp.consent.evidence import (
    ApprovalAnswer,
    Approver,
    Evidence,
    Question,
    approves_in_panel,
    require_agreement,
)
from snapshot_mcp.consent.plan_tokens import Intent, Plan, PlanTokens, digest
from snapshot_mcp.consent.target import ApprovalSubject
from snapshot_mcp.consent.write import SendCheck, Write
from snapshot_mcp.consent.write_once import WriteOnce
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import NOTHING_CHANGED, LedgerError, RefusedError
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import (
    CLOUD,
    Argument,
    Attempt,
    Event,
    RateLimit,
    Row,
    is_same_call,
    with_creation_time,
)
from snapshot_mcp.settings.environment import Consent

T = TypeVar("T")

SECONDS_PER_HOUR = 3_600.0

logger = logging.getLogger(__name__)


class Permit(NamedTuple):
    """Permission to send one write. Only the gate creates one."""

    attempt: Attempt

    def with_creation_time(self, created_at: datetime | None) -> "Permit":
        """Return the permission for a write to a snapshot that was taken at this time."""
        return Permit(with_creation_time(self.attempt, created_at))


class Gate:
    """Sends approved writes, each at most once.

    Args:
        writer: the writing half of the cloud client; nothing else holds it.
        reader: the reading half, to look for the effect of a write.
        ledger: records every attempt.
        tokens: issues and opens plan tokens.
        consent: the required evidence, as in `Settings`.
        limits: how often each tool may send a write, by tool name.
        principal: returns the current principal.
        clock: the clock that waits between retries.
        new_id: returns the id of a plan or an attempt, never the same twice.
        changes: lets one change at a time proceed.
    """

    def __init__(
        self,
        *,
        writer: CloudWriter,
        reader: CloudReader,
        ledger: Ledger,
        tokens: PlanTokens,
        consent: Consent | Literal["person"],
        limits: Mapping[str, RateLimit],
        principal: Callable[[], str],
        clock: Clock,
        new_id: Callable[[], str],
        changes: ChangeQueue,
    ) -> None:
        self._write_once = WriteOnce(writer, reader, ledger, limits, clock)
        self._ledger = ledger
        self._tokens = tokens
        self._consent = consent
        self._principal = principal
        self._new_id = new_id
        self._changes = changes

    async def check_commit(
        self, intent: Intent, plan_token: str, confirm: str, approver: Approver
    ) -> Plan | None:
        """Check the arguments of a commit before the target is read.

        Args:
            intent: the action that the call requests.
            plan_token: the token of a plan; empty to request a plan.
            confirm: the confirmation words; empty to request a plan.
            approver: the person behind the client.

        Returns:
            The plan, or None if both arguments are empty, which requests a plan.

        Raises:
            RefusedError: the client cannot give the required evidence, one of the two arguments is
                missing, or the token is not authentic, not recorded, expired, used, or for another
                action.
            LedgerError: the ledger cannot say whether the token was used.
        """
        if self._consent == "human" and not (approver.can_be_asked or approver.has_panel):
            raise RefusedError(
                "The operator requires the consent of a person, and this client can neither ask a"
                " person nor show the panel.",
                f"{NOTHING_CHANGED} The operator can change SNAPSHOT_MCP_CONSENT in the server's"
                " settings, or the person can do it in the cloud's console.",
            )
        if not plan_token and not confirm:
            return None
        if not plan_token or not confirm:
            missing = "confirm" if plan_token else "plan_token"
            raise RefusedError(
                f"{missing} is missing: a commit needs both plan_token and confirm.",
                f"{NOTHING_CHANGED} Show the plan to the person and ask whether they agree. For a"
                " new plan, call the tool without both; for retention, plan_retention.",
            )
        if self._consent == "person" and not approver.can_be_asked:
            raise RefusedError(
                "No one could be asked: there is no terminal at which a person could confirm.",
                f"{NOTHING_CHANGED} Run the command in a terminal.",
            )
        plan = await anyio.to_thread.run_sync(self._tokens.verify, plan_token, intent)
        await self._ledger.check_plan(plan.id)
        # Check expiry last: a used token must be reported as used, because its write may have
        # happened.
        self._tokens.check_expiry(plan)
        if approver.panel_nonce is not None:
            await anyio.to_thread.run_sync(self._check_panel_nonce, plan, approver)
        return plan

    def _check_panel_nonce(self, plan: Plan, approver: Approver) -> None:
        received = (approver.panel_nonce or "").encode()
        expected = self._tokens.panel_nonce(plan.id).encode()
        if not approver.has_panel or not hmac.compare_digest(received, expected):
            raise RefusedError(
                "This call did not come from the panel that shows this plan.",
                f"{NOTHING_CHANGED} The person approves in the panel, or where the client asks.",
            )

    async def plan(
        self,
        intent: Intent,
        target: ApprovalSubject,
        approver: Approver,
        recorded: Mapping[str, Argument] | None = None,
    ) -> Mapping[str, object]:
        """Record a new plan and return the fields of `Planned`; nothing is changed.

        Args:
            intent: the action that is planned.
            target: the target of the action.
            approver: the person behind the client.
            recorded: recorded in the ledger instead of the arguments of `intent`.
        """
        plan_id = self._new_id()
        token, expires_at = await anyio.to_thread.run_sync(
            self._tokens.issue, plan_id, intent, target.state
        )
        attempt = self._attempt(plan_id, intent, "arguments", approver)
        if recorded is not None:
            attempt = attempt._replace(arguments={**recorded, CLOUD: self._tokens.cloud})
        await self._ledger.record("planned", attempt, target.summary)
        nonce = self._tokens.panel_nonce(plan_id) if approver.has_panel else None
        return {
            "plan_token": token,
            "confirm_with": target.confirm_with,
            "expires_at": expires_at,
            "panel_nonce": nonce,
        }

    async def planned_list(self, plan: Plan, name: str) -> list[str] | None:
        """Return the list that the ledger's row of `plan` holds under `name`.

        The plan's state is the digest of that list. If the list is missing or was altered, the
        result is None.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        rows = await self._ledger.rows(attempt=plan.id, event="planned")
        arguments = cast("dict[str, object]", json.loads(rows[0].arguments)) if rows else {}
        values = cast("list[str]", arguments.get(name))
        return values if digest(values) == plan.state else None

    async def gather_evidence(
        self, intent: Intent, plan: Plan, target: ApprovalSubject, confirm: str, approver: Approver
    ) -> Evidence:
        """Return the strongest evidence for `plan` that this client can give.

        Raises:
            RefusedError: the words are not those of the plan, or the person did not agree.
        """
        if confirm != target.confirm_with:
            if approver.panel_nonce is not None:
                raise RefusedError(
                    "The typed words are not the confirmation words of the plan.", NOTHING_CHANGED
                )
            raise RefusedError(
                "confirm does not match the confirmation words of the plan.",
                f"{NOTHING_CHANGED} Show the plan to the person: the words must come from them.",
            )
        if approver.panel_nonce is not None:
            return "panel"  # check_commit has verified the nonce
        if approves_in_panel(approver):
            raise RefusedError(
                "The person approves this plan in the panel, and has not done so yet.",
                f"{NOTHING_CHANGED} Ask the person to type the words in the panel that shows the"
                " plan; the panel shows the result.",
            )
        if not approver.can_be_asked:
            return "arguments"
        if approver.has_answered(target.question):
            answer = await approver.ask(target.question)
        else:
            asked = self._attempt(plan.id, intent, "person", approver)
            answer = await self._ask(asked, target.question, approver)
        require_agreement(answer, target.confirm_with)
        return "person"

    async def _ask(self, asked: Attempt, question: Question, approver: Approver) -> ApprovalAnswer:
        """Ask, and record it if the question reached the client, even if no answer comes."""
        try:
            answer = await approver.ask(question)
        except anyio.get_cancelled_exc_class():  # the caller left while the question was open
            with anyio.CancelScope(shield=True), suppress(LedgerError):
                await self._ledger.record("asked", asked)
            raise
        except Exception:  # the question is the result of this round
            await self._ledger.record("asked", asked)
            raise
        if answer.action != "failed":
            await self._ledger.record("asked", asked)
        return answer

    def permit(self, intent: Intent, plan: Plan, evidence: Evidence, approver: Approver) -> Permit:
        """Return the permission to carry out `plan`.

        Raises:
            RefusedError: the plan expired while the person was answering.
        """
        self.check_expiry(plan)
        attempt = self._attempt(plan.id, intent, evidence, approver)
        return Permit(attempt._replace(plan=plan.id))

    async def check_unused(self, plan: Plan) -> None:
        """Check that a plan was not used while this call waited for its turn.

        Raises:
            RefusedError: it was used.
            LedgerError: the ledger cannot say whether it was used.
        """
        await self._ledger.check_plan(plan.id)

    def check_expiry(self, plan: Plan) -> None:
        """Check that a plan has not expired.

        Raises:
            RefusedError: it has.
        """
        self._tokens.check_expiry(plan)

    def is_repetition(self, intent: Intent, row: Row) -> bool:
        """Return whether a row is about the same call, by the same principal, on this cloud."""
        call = Attempt(
            "", intent.tool, intent.target, self._recorded_arguments(intent), self._principal(), ""
        )
        return is_same_call(row, call)

    def permit_without_plan(self, intent: Intent, approver: Approver) -> Permit:
        """Return the permission for a write that destroys nothing and bills no VM."""
        return Permit(self._attempt(self._new_id(), intent, "arguments", approver))

    def child_permit(self, permit: Permit, intent: Intent) -> Permit:
        """Return the permission for one write of a batch; the ledger lets it be sent once."""
        batch = permit.attempt
        return Permit(
            batch._replace(
                id=f"{batch.id}.{intent.target}",
                tool=intent.tool,
                target=intent.target,
                arguments={"plan": batch.id, CLOUD: self._tokens.cloud},
            )
        )

    async def count_sent_last_hour(self, tool: str) -> int:
        """Return how many writes of this tool all processes sent in the last sixty minutes."""
        return await self._ledger.sent_within(tool, SECONDS_PER_HOUR)

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Wait for the turn of one change, and hold it within the block: `ChangeQueue.turn`."""
        return self._changes.turn()

    @asynccontextmanager
    async def recording_refusals(
        self, intent: Intent, approver: Approver, plan_token: str
    ) -> AsyncGenerator[None]:
        """Record a refusal within the block, under the id of its plan if it has one."""
        try:
            yield
        except RefusedError as error:
            await self._record_refusal(intent, plan_token, approver, error)
            raise

    async def record_start(self, permit: Permit) -> None:
        """Record that a batch starts; its writes have permits of their own (`child_permit`).

        Raises:
            RefusedError: the batch was started before, perhaps by another process.
            LedgerError: it could not be recorded.
        """
        await self._ledger.record("sent", permit.attempt)

    async def record_end(self, permit: Permit, event: Event, reason: str) -> None:
        """Record how a batch ended; the caller gets its report even if the ledger fails."""
        try:
            await self._ledger.record(event, permit.attempt, reason)
        except LedgerError:
            logger.exception("batch %s ended but could not be recorded", permit.attempt.id)

    async def record_interruption(self, permit: Permit) -> None:
        """Record how far a batch came whose call was cancelled.

        The counts are those of the ledger: the last deletion may have been completed after the
        cancellation.
        """
        try:
            counts = await self._ledger.count_batch(permit.attempt.id)
        except LedgerError:
            logger.exception("batch %s ended but could not be recorded", permit.attempt.id)
            return
        event = "unknown" if counts.unknown or counts.open else "failed"
        await self.record_end(permit, event, f"interrupted; {counts}")

    async def send(self, permit: Permit, write: Write[T], check: SendCheck) -> T:
        """Send a permitted write, as `WriteOnce.send`."""
        return await self._write_once.send(permit.attempt, write, check)

    async def _record_refusal(
        self, intent: Intent, plan_token: str, approver: Approver, error: RefusedError
    ) -> None:
        try:
            plan_id = await anyio.to_thread.run_sync(self._tokens.plan_id_of, plan_token)
            attempt = self._attempt(plan_id or self._new_id(), intent, "arguments", approver)
            await self._ledger.record("refused", attempt, error.args[0])
        except LedgerError:
            logger.exception("a refusal of %s could not be recorded", intent.tool)

    def _recorded_arguments(self, intent: Intent) -> Mapping[str, Argument]:
        return {**intent.arguments, CLOUD: self._tokens.cloud}

    def _attempt(
        self, attempt_id: str, intent: Intent, evidence: Evidence, approver: Approver
    ) -> Attempt:
        return Attempt(
            attempt_id,
            intent.tool,
            intent.target,
            self._recorded_arguments(intent),
            self._principal(),
            evidence,
            approver.client,
        )
