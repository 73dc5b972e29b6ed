"""Request scheduling: limit concurrency and rate, and send nothing while the cloud accepts nothing.

Writes have their own slots and a reserved part of the rate limit, so reads cannot block them.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import anyio

from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker, Outage
from snapshot_mcp.cloud.fair_queue import FairSemaphore
from snapshot_mcp.cloud.rate_limit import Budget, LocalRateLimiter, RateLimitBlock, RateLimiter
from snapshot_mcp.cloud.response_errors import rate_limited_error
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import NOTHING_CHANGED, UnavailableError
from snapshot_mcp.core.request_context import current_caller

MAX_CONCURRENT_READS = 8
MAX_CONCURRENT_WRITES = 2


@dataclass
class Exchange:
    """One request: the time at which it was sent, and the status of the answer, if there is one."""

    sent_at: float
    status: int | None = None


class RequestScheduler:
    """Decides when a request to the cloud may be sent. All calls of the process share one.

    Args:
        clock: source of time.
        circuit_breaker: decides whether requests may be sent.
        rate_limiter: counts requests; by default this process does not share its limit.
    """

    def __init__(
        self,
        clock: Clock,
        circuit_breaker: CircuitBreaker,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self._clock = clock
        self._circuit_breaker = circuit_breaker
        self._rate_limiter = rate_limiter or LocalRateLimiter(clock)
        self._block = RateLimitBlock()
        self._read_slots = FairSemaphore(MAX_CONCURRENT_READS)
        self._write_slots = FairSemaphore(MAX_CONCURRENT_WRITES)

    @asynccontextmanager
    async def read_slot(self) -> AsyncGenerator[None]:
        """Hold a slot for one read.

        Raises:
            UnavailableError: the cloud is down, or too many requests are waiting; nothing was sent.
            RateLimitedError: the cloud refuses all requests for some seconds; nothing was sent.
        """
        self._raise_if_blocked()
        async with self._read_slots.slot(current_caller().client_id):
            await self._wait_for_permission("reads", "all")
            yield

    @asynccontextmanager
    async def write_slot(self) -> AsyncGenerator[None]:
        """Hold a slot for one write.

        Raises:
            UnavailableError: as in `read_slot`.
            RateLimitedError: as in `read_slot`.
        """
        self._raise_if_blocked()
        async with self._write_slots.slot(current_caller().client_id):
            await self._wait_for_permission("all")
            yield

    @asynccontextmanager
    async def circuit_guard(self) -> AsyncGenerator[Exchange]:
        """Wrap one request and its answer, and report the result to the circuit breaker.

        The body sets the status of the answer. An exception means that there was no answer.

        Raises:
            UnavailableError: the cloud is down; nothing was sent.
            RateLimitedError: as in `read_slot`.
        """
        self._raise_if_blocked()
        _raise_if_down(self._circuit_breaker.admit(self._clock.monotonic()))
        exchange = Exchange(self._clock.monotonic())
        try:
            yield exchange
        except anyio.get_cancelled_exc_class():
            self._circuit_breaker.record_cancellation()
            raise
        except Exception:
            if exchange.status is None:
                self.record_failure()
            raise
        finally:
            if exchange.status is not None:
                self._record_status(exchange.status)

    def record_failure(self) -> None:
        """Report to the circuit breaker that the cloud does not answer, or fails persistently."""
        self._circuit_breaker.record_failure(self._clock.monotonic(), self._clock.now())

    def record_rate_limit(self, exchange: Exchange, retry_after: float | None) -> float:
        """Pause all requests after a 429, and return the seconds until the next may be sent.

        Args:
            exchange: the refused request.
            retry_after: seconds to wait according to the cloud, if it says so.
        """
        return self._block.record_refusal(exchange.sent_at, self._clock.monotonic(), retry_after)

    def _record_status(self, status: int) -> None:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._circuit_breaker.record_server_error(self._clock.monotonic(), self._clock.now())
            return
        self._circuit_breaker.record_success()

    def _raise_if_blocked(self) -> None:
        seconds = self._block.remaining(self._clock.monotonic())
        if seconds:
            raise rate_limited_error(seconds)

    async def _wait_for_permission(self, *budgets: Budget) -> None:
        # Check for an outage before waiting, so that no request queues for a cloud that is down.
        _raise_if_down(self._circuit_breaker.current_outage(self._clock.monotonic()))
        for budget in budgets:
            while (seconds := await self._rate_limiter.try_acquire(budget)) > 0:
                await current_caller().progress.report_delay(
                    f"The cloud's request limit is used up; continuing in {seconds:.0f} s"
                )
                await self._clock.sleep(seconds)


def _raise_if_down(outage: Outage | None) -> None:
    if outage is not None:
        raise UnavailableError(
            f"The cloud has not answered since {outage.since:%Y-%m-%d %H:%M:%S} UTC. No request was"
            f" sent; the next is allowed in {outage.retry_in_seconds:.0f} s.",
            f"{NOTHING_CHANGED} Try again then.",
            retry_after=outage.retry_in_seconds,
            transient=False,
        )
