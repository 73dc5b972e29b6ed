"""When a request may leave: a few at a time, within the cloud's limit, not into an outage.

Reads leave room for writes: they have turns and a part of the limit of their own.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker, Outage
from snapshot_mcp.cloud.fair_queue import FairSemaphore
from snapshot_mcp.cloud.rate_limit import Budget, LocalRateLimiter, RateLimiter
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import OutcomeUnknownError, UnavailableError
from snapshot_mcp.core.request_context import current_caller

MAX_CONCURRENT_READS = 8
MAX_CONCURRENT_WRITES = 2


class RequestScheduler:
    """What leaves this process for the cloud; one for all calls.

    Args:
        clock: the time, and the way to wait.
        circuit: whether the cloud is asked at all.
        allowance: how many requests may be sent; by default this process has the limit for itself.
    """

    def __init__(
        self, clock: Clock, circuit_breaker: CircuitBreaker, rate_limiter: RateLimiter | None = None
    ) -> None:
        self._clock = clock
        self._circuit_breaker = circuit_breaker
        self._rate_limiter = rate_limiter or LocalRateLimiter(clock)
        self._read_slots = FairSemaphore(MAX_CONCURRENT_READS)
        self._write_slots = FairSemaphore(MAX_CONCURRENT_WRITES)

    @asynccontextmanager
    async def read_slot(self) -> AsyncGenerator[None]:
        """The turn of one read.

        Raises:
            Unavailable: the cloud is down, or too many wait; nothing was sent.
        """
        async with self._read_slots.slot(current_caller().client_id):
            await self._permit("reads", "all")
            yield

    @asynccontextmanager
    async def write_slot(self) -> AsyncGenerator[None]:
        """The turn of one write. Raises as `reading` does."""
        async with self._write_slots.slot(current_caller().client_id):
            await self._permit("all")
            yield

    @asynccontextmanager
    async def circuit_guard(self) -> AsyncGenerator[None]:
        """One request and its answer, of which the circuit learns.

        Raises:
            Unavailable: the cloud is down; nothing was sent.
        """
        _refuse_outage(self._circuit_breaker.admit(self._clock.monotonic()))
        try:
            yield
        except (UnavailableError, OutcomeUnknownError):
            self._circuit_breaker.record_failure(self._clock.monotonic(), self._clock.now())
            raise
        except anyio.get_cancelled_exc_class():
            self._circuit_breaker.record_cancellation()
            raise
        except BaseException:
            self._circuit_breaker.record_success()
            raise
        self._circuit_breaker.record_success()

    async def _permit(self, *parts: Budget) -> None:
        # Looked at before the wait as well: nobody waits in a queue for what is down.
        _refuse_outage(self._circuit_breaker.current_outage(self._clock.monotonic()))
        for part in parts:
            while (seconds := await self._rate_limiter.try_acquire(part)) > 0:
                await current_caller().progress.report_delay(
                    f"The cloud's limit of requests is used up; going on in {seconds:.0f} s"
                )
                await self._clock.sleep(seconds)


def _refuse_outage(outage: Outage | None) -> None:
    if outage is not None:
        raise UnavailableError(
            f"The cloud has not answered since {outage.since:%Y-%m-%d %H:%M:%S} UTC, so it was not"
            f" asked now; it is asked again in {outage.retry_in_seconds:.0f} s.",
            "Nothing was changed. Try again then.",
            retry_after=outage.retry_in_seconds,
            transient=False,
        )
