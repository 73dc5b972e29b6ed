"""What every change has in common: the policy is obeyed, one goes at a time, refusals are noted."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from snapshot_mcp.consent.evidence import Person
from snapshot_mcp.consent.gate import Gate
from snapshot_mcp.consent.tokens import Intent
from snapshot_mcp.errors import RefusedError
from snapshot_mcp.rules.policy import Ruling

NOTHING_CHANGED = "Nothing was changed."

_LONGEST_WAIT_FOR_OTHERS_SECONDS = 60.0


class OneAtATime:
    """Lets one change at a time look at its target and send; all changes share one of these."""

    def __init__(self) -> None:
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """One change at a time; the waiting for the others has an end.

        Raises:
            RefusedError: it came to that end.
        """
        try:
            with anyio.fail_after(_LONGEST_WAIT_FOR_OTHERS_SECONDS):
                await self._lock.acquire()
        except TimeoutError as error:
            raise RefusedError(
                "Other changes are still going on, one at a time.",
                f"{NOTHING_CHANGED} Try again in a minute.",
            ) from error
        try:
            yield
        finally:
            self._lock.release()


@asynccontextmanager
async def noting_refusals(
    gate: Gate, intent: Intent, person: Person, plan_token: str = ""
) -> AsyncGenerator[None]:
    """Record what is refused meanwhile, and why."""
    try:
        yield
    except RefusedError as error:
        await gate.refused(intent, plan_token, person, error)
        raise


def obey(ruling: Ruling | None) -> None:
    """Refuse what the policy forbids.

    Raises:
        RefusedError: there is a ruling.
    """
    if ruling is not None:
        raise RefusedError(
            f"{ruling.sentence} Rule: {ruling.rule}.",
            f"{NOTHING_CHANGED} No argument lifts a rule of the policy; the operator can.",
        )
