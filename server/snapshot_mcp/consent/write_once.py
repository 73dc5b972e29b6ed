"""Send a write once: record it before it is sent, and its outcome afterwards."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.retry import count_retries, retry_attempts
from snapshot_mcp.cloud.writer import CloudWriter
from snapshot_mcp.consent.reconcile import RECONCILE_TIMEOUT_SECONDS, find_effect
from snapshot_mcp.consent.write import SendCheck, Write, created_at, created_id
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    BadRequestError,
    CloudError,
    ConflictError,
    LedgerError,
    NotAcceptedError,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    RefusedError,
    SnapshotMcpError,
    error_kind,
)
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import Attempt, Event, RateLimit, with_result

T = TypeVar("T")

RETRY_TIMEOUT_SECONDS = 20.0
"""Time limit for repeating a write that the cloud does not accept."""

REFUSED_REASON = "refused, but it may have taken effect"
"""The reason of an unknown outcome after which a found effect may be that of another client."""

MAX_CHECK_AGE_SECONDS = 1.0
"""If recording an attempt takes longer than this, because others use the ledger, the write is
checked again before its request."""

logger = logging.getLogger(__name__)


@dataclass
class _Submission(Generic[T]):
    attempt: Attempt
    write: Write[T]
    check: SendCheck
    start_recorded: bool = False
    end_recorded: bool = False
    left_open: bool = False


class WriteOnce:
    """Sends the writes that the gate permits.

    Args:
        writer: the writing half of the cloud client; nothing else holds it.
        reader: the reading half, to look for the effect of a write.
        ledger: records every attempt.
        limits: how often each tool may send a write, by tool name.
        clock: the clock that waits between retries.
    """

    def __init__(
        self,
        writer: CloudWriter,
        reader: CloudReader,
        ledger: Ledger,
        limits: Mapping[str, RateLimit],
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._ledger = ledger
        self._limits = limits
        self._clock = clock

    async def send(self, attempt: Attempt, write: Write[T], check: SendCheck) -> T:  # pyright: ignore[reportReturnType] - the loop ends with a result or an error
        """Check the write, record the attempt, send it, and record what happened.

        If the caller is cancelled before the request leaves, nothing is sent. After that, the
        request is completed (within the limits of one HTTP call and of the reconciliation) and
        recorded before the cancellation takes effect. Only a request that the cloud did not accept
        is repeated, and the repetition begins with the check.

        Args:
            attempt: the ledger's description of the write.
            write: the write.
            check: runs before each request, when nothing else has to be waited for.

        Raises:
            RefusedError: as `check`, or this attempt was sent before, perhaps by another process,
                or the rate limit of its tool is reached; nothing was sent.
            LedgerError: the attempt could not be recorded, so it was not sent.
            NotAcceptedError: the cloud had not accepted it when `check` refused it.
            NotDoneError: it was sent and failed, and the cloud shows that it had no effect.
            OutcomeUnknownError: it was sent, and its effect is not known.
            CloudError: the cloud refused it, or is down.
        """
        submission = _Submission(attempt, write, check)
        try:
            async for retry in retry_attempts(self._clock, max_seconds=RETRY_TIMEOUT_SECONDS):
                with retry, count_retries(retry):
                    return await self._send_once(submission)
        except (SnapshotMcpError, anyio.get_cancelled_exc_class()) as error:
            with anyio.CancelScope(shield=True):
                await self._record_failure(submission, error)
            raise

    async def _send_once(self, submission: _Submission[T]) -> T:  # pyright: ignore[reportReturnType] - a shielded scope swallows nothing
        async with self._writer.write_slot():
            await self._check(submission)
            if not submission.start_recorded:
                checked_at = self._clock.monotonic()
                with anyio.CancelScope(shield=True):
                    await self._record_start(submission)
                if self._clock.monotonic() - checked_at > MAX_CHECK_AGE_SECONDS:
                    await self._check(submission)
            with anyio.CancelScope(shield=True):
                return await self._send_and_record(submission)

    async def _check(self, submission: _Submission[T]) -> None:
        try:
            await submission.check()
        except (RefusedError, NotFoundError) as error:
            if submission.start_recorded:
                raise _not_accepted_error(error) from error
            raise
        except CloudError as error:
            error.transient = False  # each read was repeated already
            raise

    async def _record_start(self, submission: _Submission[T]) -> None:
        attempt = submission.attempt
        await self._ledger.record("sent", attempt, rate_limit=self._limits.get(attempt.tool))
        submission.start_recorded = True

    async def _send_and_record(self, submission: _Submission[T]) -> T:
        # If the process is ended from here on, its next start looks for the effect.
        submission.left_open = True
        try:
            result = await submission.write.send(self._writer)
        except OutcomeUnknownError as error:
            result = await self._reconcile(submission, error)
        except (BadRequestError, ConflictError, NotFoundError) as error:
            result = await self._reconcile_refusal(submission, error)
        except SnapshotMcpError:
            submission.left_open = False
            raise
        except Exception as error:
            # A bug in this server: the request may or may not have been sent.
            await self._record_end("unknown", submission, error_kind(error))
            raise
        else:
            await self._record_done(submission, result)
        return result

    async def _reconcile(self, submission: _Submission[T], error: OutcomeUnknownError) -> T:
        lookup = await find_effect(submission.write, self._reader, self._clock)
        if lookup.effect is not None:
            await self._record_done(submission, lookup.effect, "settled: the cloud shows it")
            return lookup.effect
        if not lookup.conclusive or error.may_complete_later:
            await self._record_end("unknown", submission, error.args[0])
            raise error
        await self._record_end("failed", submission, "settled: the cloud does not show it")
        raise NotDoneError(
            "The request failed after it was sent, and the cloud does not show any effect of it: it"
            " was not done.",
            "Nothing was changed, as far as the cloud shows.",
        ) from error

    async def _reconcile_refusal(self, submission: _Submission[T], error: CloudError) -> T:
        # If a proxy sent the request twice, the refusal may answer only the second one.
        lookup = await find_effect(submission.write, self._reader, self._clock, ())
        if lookup.conclusive and lookup.effect is None:
            submission.left_open = False
            await self._explain_refusal(submission)
            raise error
        if lookup.effect is not None and submission.write.is_certain(lookup.effect):
            reason = "settled: refused, but the cloud shows it"
            await self._record_done(submission, lookup.effect, reason)
            return lookup.effect
        await self._record_end("unknown", submission, REFUSED_REASON)
        state = "shows its effect" if lookup.conclusive else "cannot be checked"
        raise OutcomeUnknownError(
            f"The cloud refused the request but {state}: a proxy may have sent it twice, or another"
            " client made the same change at this moment.",
            "Check the current state first; do not repeat it.",
            effect_visible=lookup.effect is not None,
        ) from error

    async def _explain_refusal(self, submission: _Submission[T]) -> None:
        """Raise an error with the reason for a refusal, if the cloud's current state shows it."""
        try:
            with anyio.move_on_after(RECONCILE_TIMEOUT_SECONDS):
                await submission.check()
        except (RefusedError, NotFoundError) as reason:
            raise _not_accepted_error(reason) from reason
        except (CloudError, ProtocolError):
            return  # the cloud's refusal is still an answer

    async def _record_failure(self, submission: _Submission[T], error: BaseException) -> None:
        """Record that an attempt ended without effect, if its start was recorded."""
        open_attempt = submission.start_recorded and not submission.end_recorded
        if open_attempt and not submission.left_open:
            await self._record_end("failed", submission, _failure_reason(error))

    async def _record_done(self, submission: _Submission[T], result: T, reason: str = "") -> None:
        submission.attempt = with_result(submission.attempt, created_id(result), created_at(result))
        remark = submission.write.remark(result)
        await self._record_end("done", submission, "; ".join(filter(None, (reason, remark))))

    async def _record_end(self, event: Event, submission: _Submission[T], reason: str = "") -> None:
        submission.end_recorded = True
        try:
            await self._ledger.record(event, submission.attempt, reason)
        except LedgerError:
            # The write has happened: the caller must still get its result.
            logger.exception(
                "attempt %s ended as %s but could not be recorded", submission.attempt.id, event
            )


def _not_accepted_error(reason: SnapshotMcpError) -> NotAcceptedError:
    return NotAcceptedError(
        f"Changed before the cloud accepted it: {reason.args[0]}",
        reason.next_step or NOTHING_CHANGED,
    )


def _failure_reason(error: BaseException) -> str:
    if isinstance(error, NotAcceptedError):
        return str(error.args[0])
    return error_kind(error) if isinstance(error, SnapshotMcpError) else "cancelled"
