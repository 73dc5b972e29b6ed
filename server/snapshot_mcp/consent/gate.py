"""The gate: no write reaches the cloud but through here, and it is in the ledger before it goes.

The order is always: evidence possible? -> plan presented and authentic? -> target unchanged? ->
the right words? -> a person agrees, where the client can ask one -> ledger -> cloud -> ledger.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

import anyio

from snapshot_mcp.answers import BlastRadius
from snapshot_mcp.clock import Clock
from snapshot_mcp.cloud.client import CloudWriter
from snapshot_mcp.consent.evidence import Answer, Evidence, Person
from snapshot_mcp.consent.question import facts, question
from snapshot_mcp.consent.sending import Sender
from snapshot_mcp.consent.settlement import Look
from snapshot_mcp.consent.tokens import Intent, Plan, Tokens, digest
from snapshot_mcp.errors import (
    LedgerError,
    RefusedError,
)
from snapshot_mcp.ledger import Attempt, Ledger, RateLimit
from snapshot_mcp.models import Snapshot
from snapshot_mcp.settings import Consent

T = TypeVar("T")

SECONDS_OF_AN_HOUR = 3_600.0

logger = logging.getLogger(__name__)


class Target(NamedTuple):
    """The target of a destructive action, as it is now.

    Attributes:
        state: digest of what a plan depends on.
        confirm_with: the words of consent.
        radius: what the action would touch.
    """

    state: str
    confirm_with: str
    radius: BlastRadius


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
        principal: who acts.
        clock: the time, and the way to wait.
        new_id: gives the id of a plan or attempt, never the same twice.
    """

    def __init__(
        self,
        *,
        writer: CloudWriter,
        ledger: Ledger,
        tokens: Tokens,
        consent: Consent,
        limits: Mapping[str, RateLimit],
        principal: str,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._sender = Sender(writer, ledger, limits, clock)
        self._ledger = ledger
        self._tokens = tokens
        self._consent = consent
        self._principal = principal
        self._new_id = new_id

    async def present(
        self, intent: Intent, plan_token: str, confirm: str, person: Person
    ) -> Plan | None:
        """Check what was presented for a destructive action, before anything is looked up.

        Returns:
            The plan, or None when nothing was presented and a plan is asked for.

        Raises:
            RefusedError: the evidence cannot be had, half of it is missing, or the token is
                forged, foreign, expired, used, or for something else.
            LedgerError: whether it was used cannot be told.
        """
        if self._consent == "human" and not person.can_be_asked:
            raise RefusedError(
                "The operator allows this only with a person's own consent, and this client cannot"
                " ask a person.",
                "Nothing was changed. The operator can change that with SNAPSHOT_MCP_CONSENT in the"
                " server's settings; or the person can do it in the cloud's console.",
            )
        if not plan_token and not confirm:
            return None
        if not plan_token or not confirm:
            missing = "confirm" if plan_token else "plan_token"
            raise RefusedError(
                f"{missing} is missing: a commit needs both plan_token and confirm.",
                "Nothing was changed. Show the plan to the person and ask whether they agree; call"
                " the tool with neither of the two for a new plan.",
            )
        plan = await anyio.to_thread.run_sync(self._tokens.open, plan_token, intent)
        if await self._ledger.was_sent(plan.id):
            raise RefusedError(
                "This plan was already used; a plan can be used once.",
                "Nothing was sent now. Look at the current state first.",
            )
        # Only now: a used plan must not be told to be merely old, for then it may have happened.
        self._tokens.check_time(plan)
        return plan

    async def plan(self, intent: Intent, target: Target, person: Person) -> Mapping[str, object]:
        """A new plan for `intent` on `target`, as the fields of `Planned`; nothing is changed."""
        plan_id = self._new_id()
        token, expires_at = await anyio.to_thread.run_sync(
            self._tokens.issue, plan_id, intent, target.state
        )
        touched = "; ".join([*facts(target.radius), *target.radius.warnings])
        attempt = self._attempt(plan_id, intent, "arguments", person)
        await self._ledger.record("planned", attempt, touched)
        return {
            "plan": target.radius,
            "plan_token": token,
            "confirm_with": target.confirm_with,
            "expires_at": expires_at,
        }

    async def gather_evidence(
        self, intent: Intent, plan: Plan, target: Target, confirm: str, person: Person
    ) -> Evidence:
        """The strongest evidence for `plan` that this client can give.

        Raises:
            RefusedError: the words are not those of the plan, or the person did not agree.
        """
        if confirm != target.confirm_with:
            raise RefusedError(
                "confirm does not hold the words that the plan asks for.",
                "Nothing was changed. Show the plan to the person: the words are theirs to give.",
            )
        if not person.can_be_asked:
            return "arguments"
        asked = question(target.radius, target.confirm_with)
        if not person.has_answered(asked):
            await self._ledger.record("asked", self._attempt(plan.id, intent, "person", person))
        _require_agreement(await person.ask(asked), target.confirm_with)
        return "person"

    def permit(self, intent: Intent, plan: Plan, evidence: Evidence, person: Person) -> Permit:
        """Leave to carry out `plan`, when it has not ended while a person thought about it.

        Raises:
            RefusedError: it has ended.
        """
        self._tokens.check_time(plan)
        return Permit(self._attempt(plan.id, intent, evidence, person))

    async def sent_last_hour(self, tool: str) -> int:
        """How often this tool sent something in the last sixty minutes, in all processes."""
        return await self._ledger.sent_within(tool, SECONDS_OF_AN_HOUR)

    async def refused(
        self, intent: Intent, plan_token: str, person: Person, error: RefusedError
    ) -> None:
        """Record that something was refused, and why; under its plan's id, if it had a plan."""
        try:
            plan_id = await anyio.to_thread.run_sync(self._tokens.plan_id, plan_token)
            attempt = self._attempt(plan_id or self._new_id(), intent, "arguments", person)
            await self._ledger.record("refused", attempt, error.args[0])
        except LedgerError:
            logger.exception("a refusal of %s could not be recorded", intent.tool)

    def _attempt(
        self, attempt_id: str, intent: Intent, evidence: Evidence, person: Person
    ) -> Attempt:
        return Attempt(
            attempt_id,
            intent.tool,
            intent.target,
            intent.arguments,
            self._principal,
            evidence,
            person.client,
        )

    def routine(self, intent: Intent, person: Person) -> Permit:
        """Leave for a write that destroys nothing and bills no machine; it is recorded as well."""
        return Permit(self._attempt(self._new_id(), intent, "arguments", person))

    async def send(
        self,
        permit: Permit,
        write: Callable[[CloudWriter], Awaitable[T]],
        look: Look[T],
        *,
        others_differ: bool = False,
    ) -> T:
        """Record the attempt, send it, record what was seen of it; as `Sender.send`."""
        return await self._sender.send(permit.attempt, write, look, others_differ=others_differ)


def _require_agreement(answer: Answer, confirm_with: str) -> None:
    again = "Nothing was changed. Do not ask again unless the person wants it."
    match answer:
        case Answer("accept", words) if words == confirm_with:
            return
        case Answer("accept"):
            raise RefusedError("The person was asked and typed other words than the plan's.", again)
        case Answer("decline"):
            raise RefusedError("The person was asked and declined.", again)
        case Answer("cancel"):
            raise RefusedError("The person was asked and dismissed the question.", again)
        case Answer("timeout"):
            raise RefusedError("The person was asked and did not answer in time.", again)
        case _:
            raise RefusedError(
                "The person could not be asked: the client failed to.",
                "Nothing was changed. Without a person's answer this server does not go on.",
            )


def target_state(snapshot: Snapshot, radius: BlastRadius) -> str:
    """Digest of what a plan depends on: if it differs, the plan is void.

    The blast radius is part of it, because the deletion of a sibling makes an unchanged snapshot
    the last of its VM. Its age is not.
    """
    told = radius.model_dump(mode="json", exclude={"age_days"})
    return digest([told, snapshot.status, str(snapshot.updated_at), snapshot.altered])
