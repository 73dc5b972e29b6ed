"""Sending a write: recorded before it leaves, sent once, settled, and recorded again."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from snapshot_mcp.cloud.client import CloudWriter
from snapshot_mcp.cloud.retry import retry_until
from snapshot_mcp.consent.reconcile import EffectLookup, find_effect
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import (
    BadRequestError,
    CloudError,
    ConflictError,
    LedgerError,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    SnapshotMcpError,
)
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Attempt, Event, RateLimit

T = TypeVar("T")

RETRY_TIMEOUT_SECONDS = 20.0
"""How long a write that the cloud does not accept yet is tried again."""

logger = logging.getLogger(__name__)


@dataclass
class _Sending(Generic[T]):
    attempt: Attempt
    write: Callable[[CloudWriter], Awaitable[T]]
    look: EffectLookup[T]
    others_differ: bool
    recorded: bool = False
    ended: bool = False


class WriteOnce:
    """Sends what the gate let pass.

    Args:
        writer: the writing half of the cloud; nobody else holds it.
        ledger: where every attempt is recorded.
        limits: how often a tool may send something; the ledger counts.
        clock: the time, and the way to wait.
    """

    def __init__(
        self, writer: CloudWriter, ledger: Ledger, limits: Mapping[str, RateLimit], clock: Clock
    ) -> None:
        self._writer = writer
        self._ledger = ledger
        self._limits = limits
        self._clock = clock

    async def send(
        self,
        attempt: Attempt,
        write: Callable[[CloudWriter], Awaitable[T]],
        look: EffectLookup[T],
        *,
        others_differ: bool = False,
    ) -> T:
        """Record the attempt, send it, record what was seen of it.

        A caller who is cancelled before the request leaves sends nothing. Once it is on its way
        it is seen to its end, within the limit of one HTTP call and of settling, and recorded;
        then the cancellation goes on. Only what the cloud did not accept is tried again.

        Args:
            attempt: what is sent, as the ledger knows it.
            write: sends it, once.
            look: looks for its effect, where the answer does not tell.
            others_differ: what somebody else makes under the same name is not the same thing.

        Raises:
            RefusedError: this attempt was sent before, perhaps by another process.
            LedgerError: it could not be recorded, so it was not sent.
            NotDone: it was sent, failed, and the cloud shows that it had no effect.
            OutcomeUnknown: it was sent, and its effect is not known.
            CloudError: the cloud refused it, or is down.
        """
        sending = _Sending(attempt, write, look, others_differ)
        try:
            return await retry_until(
                lambda: self._send_once(sending), self._clock, max_seconds=RETRY_TIMEOUT_SECONDS
            )
        except (SnapshotMcpError, anyio.get_cancelled_exc_class()) as error:
            with anyio.CancelScope(shield=True):
                await self._end(sending, error)
            raise

    async def _send_once(self, sending: "_Sending[T]") -> T:  # pyright: ignore[reportReturnType] - a shielded scope swallows nothing
        async with self._writer.write_slot():
            with anyio.CancelScope(shield=True):
                await self._begin(sending)
                return await self._watch(sending)

    async def _begin(self, sending: "_Sending[T]") -> None:
        if not sending.recorded:
            attempt = sending.attempt
            await self._ledger.record("sent", attempt, at_most=self._limits.get(attempt.tool))
            sending.recorded = True

    async def _watch(self, sending: "_Sending[T]") -> T:
        try:
            result = await sending.write(self._writer)
        except OutcomeUnknownError as error:
            result = await self._settle(sending, error)
        except (BadRequestError, ConflictError, NotFoundError) as error:
            result = await self._look_after_refusal(sending, error)
        except SnapshotMcpError:
            raise
        except Exception as error:
            # A crash of our own: whether it came before or after the request is not known.
            await self._note("unknown", sending, type(error).__name__)
            raise
        else:
            await self._note("done", sending)
        return result

    async def _settle(self, sending: "_Sending[T]", error: OutcomeUnknownError) -> T:
        seen = await find_effect(sending.look, self._clock)
        if seen.effect is not None:
            await self._note("done", sending, "settled: the cloud shows it")
            return seen.effect
        if not seen.conclusive or error.may_complete_later:
            await self._note("unknown", sending, error.args[0])
            raise error
        await self._note("failed", sending, "settled: the cloud does not show it")
        raise NotDoneError(
            "The request failed after it was sent, and the cloud does not show any effect of it: it"
            " was not done.",
            "Nothing was changed, as far as the cloud shows.",
        ) from error

    async def _look_after_refusal(self, sending: "_Sending[T]", error: CloudError) -> T:
        # A proxy may send a request twice: then the refusal is that of the repetition.
        seen = await find_effect(sending.look, self._clock, ())
        if seen.conclusive and seen.effect is None:
            raise error
        if seen.effect is not None and not sending.others_differ:
            await self._note("done", sending, "settled: refused, but the cloud shows it")
            return seen.effect
        await self._note("unknown", sending, "refused, but it may have happened all the same")
        shown = "shows what it asks for" if seen.conclusive else "cannot be looked at"
        raise OutcomeUnknownError(
            f"The cloud refused the request, and yet {shown}: it may have been sent twice on the"
            " way, or somebody else made the like at this moment.",
            "Look before you do anything else; do not repeat it.",
        ) from error

    async def _end(self, sending: "_Sending[T]", error: BaseException) -> None:
        """Record how it ended that the cloud did not accept it, once it was recorded at all."""
        if sending.recorded and not sending.ended:
            foreseen = isinstance(error, SnapshotMcpError)
            await self._note("failed", sending, type(error).__name__ if foreseen else "cancelled")

    async def _note(self, event: Event, sending: "_Sending[T]", reason: str = "") -> None:
        sending.ended = True
        try:
            await self._ledger.record(event, sending.attempt, reason)
        except LedgerError:
            # The write has happened: what was seen of it must still reach the caller.
            logger.exception(
                "attempt %s ended as %s but could not be recorded", sending.attempt.id, event
            )
