"""Request scheduling: limit concurrency and rate, and send nothing while the cloud accepts nothing.

Writes have their own slots and a reserved part of the rate limit, so reads cannot block them. Each
principal has a share of the slots, of the queues and of the rate limit.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import anyio

from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker, Outage
from snapshot_mcp.cloud.fair_queue import FairSemaphore
from snapshot_mcp.cloud.rate_limit import Budget, LocalRateLimiter, RateLimitBlock, RateLimiter
from snapshot_mcp.cloud.response_errors import rate_limited_error, share_used_error
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import NOTHING_CHANGED, UnavailableError
from snapshot_mcp.core.request_context import LOCAL_PRINCIPAL, Caller, current_caller

MAX_CONCURRENT_READS = 8
MAX_CONCURRENT_WRITES = 2
MAX_WAITING = 500
"""Requests of one principal that wait for a slot. A long list is read with eight at a time."""


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
        self._share_blocked_until: dict[str, float] = {}
        self._read_slots = FairSemaphore(MAX_CONCURRENT_READS, MAX_WAITING)
        self._write_slots = FairSemaphore(MAX_CONCURRENT_WRITES, MAX_WAITING)

    @asynccontextmanager
    async def read_slot(self) -> AsyncGenerator[None]:
        """Hold a slot for one read.

        Raises:
            UnavailableError: the cloud is down, or too many requests of the principal are waiting;
                nothing was sent.
            RateLimitedError: the cloud refuses all requests for some seconds, or the share of the
                principal is used up for longer than the call may take; nothing was sent.
        """
        self._raise_if_blocked()
        caller = current_caller()
        while True:
            async with self._read_slots.slot(caller):
                seconds = await self._seconds_until_share(caller)
                if not seconds:
                    # Other changes wait for one in progress, so its reads may use the reserve.
                    await self._wait_for_permission("all" if caller.is_changing else "reads")
                    yield
                    return
            # Wait without a slot, which others can use now.
            await self._wait_for_share(seconds)

    @asynccontextmanager
    async def write_slot(self) -> AsyncGenerator[None]:
        """Hold a slot for one write.

        Raises:
            UnavailableError: as in `read_slot`.
            RateLimitedError: as in `read_slot`.
        """
        self._raise_if_blocked()
        async with self._write_slots.slot(current_caller()):
            await self._wait_for_permission("all")
            yield

    async def wait_for_share(self) -> None:
        """Wait until the caller may use more of its share of the cloud's rate limit.

        Raises:
            RateLimitedError: it takes longer than the call may; nothing was sent.
        """
        while seconds := await self._seconds_until_share(current_caller()):
            await self._wait_for_share(seconds)

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

    async def _seconds_until_share(self, caller: Caller) -> float:
        """Return 0 if the share of the caller permits a request, else the seconds to wait."""
        # A user of this machine shares the limit with no one, and others wait for a change.
        if caller.principal == LOCAL_PRINCIPAL or caller.is_changing:
            return 0
        now = self._clock.monotonic()
        blocked_until = self._share_blocked_until.get(caller.principal, now)
        if blocked_until > now:
            return blocked_until - now  # many requests may wait for the same answer
        seconds = await self._rate_limiter.seconds_until_share(caller.principal)
        if seconds:
            self._share_blocked_until[caller.principal] = now + seconds
        else:
            self._share_blocked_until.pop(caller.principal, None)
        return seconds

    async def _wait_for_share(self, seconds: float) -> None:
        if anyio.current_time() + seconds > anyio.current_effective_deadline():
            raise share_used_error(seconds)
        await current_caller().progress.report_delay(
            "Your share of the cloud's request limit is used up; continuing in"
            f" {math.ceil(seconds)} s"
        )
        await self._clock.sleep(seconds)

    async def _wait_for_permission(self, budget: Budget) -> None:
        # Check for an outage before waiting, so that no request queues for a cloud that is down.
        _raise_if_down(self._circuit_breaker.current_outage(self._clock.monotonic()))
        principal = current_caller().principal
        budgets: tuple[Budget, ...] = ("reads", "all") if budget == "reads" else ("all",)
        for needed in budgets:
            while (seconds := await self._rate_limiter.try_acquire(needed, principal)) > 0:
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
