"""The gate: no write reaches the cloud but through here, and it is in the ledger before it goes.

The order is always: evidence possible? -> plan presented and authentic? -> target unchanged? ->
the right words? -> a person agrees, where the client can ask one -> ledger -> cloud -> ledger.
"""

import hmac
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import NamedTuple, TypeVar, cast

import anyio

from snapshot_mcp.cloud.client import CloudWriter
from snapshot_mcp.consent.evidence import ApprovalAnswer, Approver, Evidence, approves_in_panel
from snapshot_mcp.consent.plan_tokens import Intent, Plan, PlanTokens, digest
from snapshot_mcp.consent.reconcile import EffectLookup
from snapshot_mcp.consent.target import ApprovalSubject
from snapshot_mcp.consent.write_once import WriteOnce
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import (
    LedgerError,
    RefusedError,
)
from snapshot_mcp.ledger.base import Ledger, already_used_error
from snapshot_mcp.ledger.chain import Argument, Attempt, Event, RateLimit
from snapshot_mcp.settings.environment import Consent

T = TypeVar("T")

SECONDS_PER_HOUR = 3_600.0
_CHANGE_LOCK_TIMEOUT_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Permit(NamedTuple):
    """Leave to send one write. Only the gate makes one."""

    attempt: Attempt


class Gate:
    """Lets writes through that somebody agreed to, once each.

    Args:
        writer: the writing half of the cloud; nobody else holds it.
        ledger: where every attempt is recorded.
        tokens: issues and opens plan tokens.
        consent: how much evidence a destructive action needs at least.
        limits: how often a tool may send something; the ledger counts.
        principal: tells who acts now.
        clock: the time, and the way to wait.
        new_id: gives the id of a plan or attempt, never the same twice.
        others: held by one server at a time, of all that share the ledger.
    """

    def __init__(
        self,
        *,
        writer: CloudWriter,
        ledger: Ledger,
        tokens: PlanTokens,
        consent: Consent,
        limits: Mapping[str, RateLimit],
        principal: Callable[[], str],
        clock: Clock,
        new_id: Callable[[], str],
        others: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._sender = WriteOnce(writer, ledger, limits, clock)
        self._ledger = ledger
        self._tokens = tokens
        self._consent = consent
        self._principal = principal
        self._new_id = new_id
        self._one_at_a_time = anyio.Lock()
        self._others = others

    async def check_commit(
        self, intent: Intent, plan_token: str, confirm: str, person: Approver
    ) -> Plan | None:
        """Check what was presented for a destructive action, before anything is looked up.

        Returns:
            The plan, or None when nothing was presented and a plan is asked for.

        Raises:
            RefusedError: the evidence cannot be had, half of it is missing, or the token is
                forged, foreign, expired, used, or for something else.
            LedgerError: whether it was used cannot be told.
        """
        if self._consent == "human" and not (person.can_be_asked or person.has_panel):
            raise RefusedError(
                "The operator allows this only with a person's own consent, and this client can"
                " neither ask a person nor show them the panel.",
                "Nothing was changed. The operator can change that with SNAPSHOT_MCP_CONSENT in the"
                " server's settings; or the person can do it in the cloud's console.",
            )
        if not plan_token and not confirm:
            return None
        if not plan_token or not confirm:
            missing = "confirm" if plan_token else "plan_token"
            raise RefusedError(
                f"{missing} is missing: a commit needs both plan_token and confirm.",
                "Nothing was changed. Show the plan to the person and ask whether they agree. For a"
                " new plan call the tool with neither of the two; for retention, plan_retention.",
            )
        plan = await anyio.to_thread.run_sync(self._tokens.open, plan_token, intent)
        if await self._ledger.was_sent(plan.id):
            raise already_used_error()
        # Only now: a used plan must not be told to be merely old, for then it may have happened.
        self._tokens.check_expiry(plan)
        if person.panel_nonce is not None:
            await anyio.to_thread.run_sync(self._check_panel, plan, person)
        return plan

    def _check_panel(self, plan: Plan, person: Approver) -> None:
        given, nonce = person.panel_nonce or "", self._tokens.panel_nonce(plan.id)
        if not person.has_panel or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise RefusedError(
                "This did not come from the panel that shows this plan.",
                "Nothing was changed. The person agrees in the panel, or where the client asks"
                " them.",
            )

    async def plan(
        self,
        intent: Intent,
        target: ApprovalSubject,
        person: Approver,
        recorded: Mapping[str, Argument] | None = None,
    ) -> Mapping[str, object]:
        """A new plan for `intent` on `target`, as fields of `Planned`; nothing is changed.

        Args:
            intent: what is wanted.
            target: what it would touch.
            person: who is behind the client.
            recorded: what the plan's row in the ledger holds in place of the intent's arguments.
        """
        plan_id = self._new_id()
        token, expires_at = await anyio.to_thread.run_sync(
            self._tokens.issue, plan_id, intent, target.state
        )
        attempt = self._attempt(plan_id, intent, "arguments", person)
        if recorded is not None:
            attempt = attempt._replace(arguments=recorded)
        await self._ledger.record("planned", attempt, target.summary)
        nonce = self._tokens.panel_nonce(plan_id) if person.has_panel else None
        return {
            "plan_token": token,
            "confirm_with": target.confirm_with,
            "expires_at": expires_at,
            "panel_nonce": nonce,
        }

    async def planned_arguments(self, plan: Plan, name: str) -> list[str]:
        """The list that the row of `plan` in the ledger holds under `name`.

        It must be what the plan's state is the digest of, so it is as it was when it was signed.

        Raises:
            RefusedError: the ledger does not hold it so.
            LedgerError: the ledger cannot be read.
        """
        rows = await self._ledger.rows(attempt=plan.id, event="planned")
        arguments = cast("dict[str, object]", json.loads(rows[0].arguments)) if rows else {}
        held = cast("list[str]", arguments.get(name))
        if digest(held) != plan.state:
            raise RefusedError(
                "The ledger does not hold this plan as it was made.",
                "Nothing was changed. Make a new plan.",
            )
        return held

    async def gather_evidence(
        self, intent: Intent, plan: Plan, target: ApprovalSubject, confirm: str, person: Approver
    ) -> Evidence:
        """The strongest evidence for `plan` that this client can give.

        Raises:
            RefusedError: the words are not those of the plan, or the person did not agree.
        """
        if confirm != target.confirm_with:
            if person.panel_nonce is not None:
                raise RefusedError(
                    "What was typed is not what the plan asks for.", "Nothing was changed."
                )
            raise RefusedError(
                "confirm does not hold the words that the plan asks for.",
                "Nothing was changed. Show the plan to the person: the words are theirs to give.",
            )
        if person.panel_nonce is not None:
            return "panel"  # `present` has checked it
        if approves_in_panel(person):
            raise RefusedError(
                "The person agrees to this plan in the panel, and has not yet.",
                "Nothing was changed. Ask the person to type the words in the panel that shows the"
                " plan; what became of it is told there.",
            )
        if not person.can_be_asked:
            return "arguments"
        if not person.has_answered(target.question):
            await self._ledger.record("asked", self._attempt(plan.id, intent, "person", person))
        _require_agreement(await person.ask(target.question), target.confirm_with)
        return "person"

    def permit(self, intent: Intent, plan: Plan, evidence: Evidence, person: Approver) -> Permit:
        """Leave to carry out `plan`, when it has not ended while a person thought about it.

        Raises:
            RefusedError: it has ended.
        """
        self._tokens.check_expiry(plan)
        return Permit(self._attempt(plan.id, intent, evidence, person))

    async def count_sent_last_hour(self, tool: str) -> int:
        """How often this tool sent something in the last sixty minutes, in all processes."""
        return await self._ledger.sent_within(tool, SECONDS_PER_HOUR)

    @asynccontextmanager
    async def exclusive(self) -> AsyncGenerator[None]:
        """One change at a time, of all servers on this ledger; the wait for others has an end.

        Raises:
            RefusedError: it came to its end.
            LedgerError: whether others are at it cannot be told.
        """
        async with AsyncExitStack() as held:
            try:
                with anyio.fail_after(_CHANGE_LOCK_TIMEOUT_SECONDS):
                    await held.enter_async_context(self._one_at_a_time)
                    await held.enter_async_context(self._others())
            except TimeoutError as error:
                raise RefusedError(
                    "Other changes are still going on, one at a time.",
                    "Nothing was changed. Try again in a minute.",
                ) from error
            yield

    @asynccontextmanager
    async def recording_refusals(
        self, intent: Intent, person: Approver, plan_token: str
    ) -> AsyncGenerator[None]:
        """Record that something was refused, and why; under its plan's id, if it had a plan."""
        try:
            yield
        except RefusedError as error:
            await self._refused(intent, plan_token, person, error)
            raise

    async def record_start(self, permit: Permit) -> None:
        """Record that a batch begins; its writes are attempts of their own, see `part`.

        Raises:
            RefusedError: it was begun before, perhaps by another process.
            LedgerError: it could not be recorded.
        """
        await self._ledger.record("sent", permit.attempt)

    def child_permit(self, permit: Permit, tool: str, target: int) -> Permit:
        """Leave for one write of a batch; the ledger lets it be sent once, as any other."""
        batch = permit.attempt
        return Permit(
            batch._replace(
                id=f"{batch.id}.{target}", tool=tool, target=target, arguments={"plan": batch.id}
            )
        )

    async def record_end(self, permit: Permit, event: Event, reason: str) -> None:
        """Record how a batch ended; a ledger that fails keeps nobody from being told."""
        try:
            await self._ledger.record(event, permit.attempt, reason)
        except LedgerError:
            logger.exception("batch %s ended but could not be recorded", permit.attempt.id)

    async def _refused(
        self, intent: Intent, plan_token: str, person: Approver, error: RefusedError
    ) -> None:
        try:
            plan_id = await anyio.to_thread.run_sync(self._tokens.plan_id, plan_token)
            attempt = self._attempt(plan_id or self._new_id(), intent, "arguments", person)
            await self._ledger.record("refused", attempt, error.args[0])
        except LedgerError:
            logger.exception("a refusal of %s could not be recorded", intent.tool)

    def _attempt(
        self, attempt_id: str, intent: Intent, evidence: Evidence, person: Approver
    ) -> Attempt:
        return Attempt(
            attempt_id,
            intent.tool,
            intent.target,
            intent.arguments,
            self._principal(),
            evidence,
            person.client,
        )

    def permit_without_plan(self, intent: Intent, person: Approver) -> Permit:
        """Leave for a write that destroys nothing and bills no machine; it is recorded as well."""
        return Permit(self._attempt(self._new_id(), intent, "arguments", person))

    async def send(
        self,
        permit: Permit,
        write: Callable[[CloudWriter], Awaitable[T]],
        look: EffectLookup[T],
        *,
        others_differ: bool = False,
    ) -> T:
        """Record the attempt, send it, record what was seen of it; as `Sender.send`."""
        return await self._sender.send(permit.attempt, write, look, others_differ=others_differ)


def _require_agreement(answer: ApprovalAnswer, confirm_with: str) -> None:
    again = "Nothing was changed. Do not ask again unless the person wants it."
    match answer:
        case ApprovalAnswer("accept", words) if words == confirm_with:
            return
        case ApprovalAnswer("accept"):
            raise RefusedError("The person was asked and typed other words than the plan's.", again)
        case ApprovalAnswer("decline"):
            raise RefusedError("The person was asked and declined.", again)
        case ApprovalAnswer("cancel"):
            raise RefusedError("The person was asked and dismissed the question.", again)
        case ApprovalAnswer("timeout"):
            raise RefusedError("The person was asked and did not answer in time.", again)
        case _:
            raise RefusedError(
                "The person could not be asked: the client failed to.",
                "Nothing was changed. Without a person's answer this server does not go on.",
            )
