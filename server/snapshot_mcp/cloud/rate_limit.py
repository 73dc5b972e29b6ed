"""Client-side rate limit: stay below the number of requests that the cloud accepts per minute.

A principal has a share of the limit: it may use at most as much as it leaves to the others. One
principal alone gets half of the limit, two get a third each, and so on.

Other clients at the same address count too, so the cloud may still refuse; then all requests pause.
"""

from collections.abc import Awaitable
from typing import Literal, NamedTuple, Protocol, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem
from pyrate_limiter.abstracts import AbstractBucket

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.instrumentation import OBSERVER

REQUESTS_PER_MINUTE = 500
"""Source: the cloud's documentation of its limit, for all requests of a source address."""

RESERVED_FOR_WRITES = 50

MINUTE_MILLISECONDS = 60_000
_MIN_WAIT_SECONDS = 0.01

MIN_PAUSE_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 4.0
MAX_PAUSE_SECONDS = 32.0
"""Source: the vendor advises to wait at least 1 s, to double it, and to try five times at most. The
block lasts for the rest of the minute: four pauses from 4 s to 32 s cover it."""

MAX_BLOCK_SECONDS = 60.0
_MAX_REFUSALS = 10

Budget = Literal["reads", "all"]
"""A read consumes one request of "reads" and one of "all". A write consumes one of "all". So does a
read by a change in progress, because other changes wait for it."""


class Usage(NamedTuple):
    """The requests of the last minute.

    Attributes:
        own: the number of one principal's requests.
        total: the number of all requests.
        oldest_own_ms: milliseconds since the oldest of the principal's requests.
    """

    own: int
    total: int
    oldest_own_ms: float


class RateLimiter(Protocol):
    """Counts requests, for one process or for all processes that share the limit."""

    def try_acquire(self, budget: Budget, principal: str) -> Awaitable[float]:
        """Consume one request and return 0, or return the seconds to wait before trying again."""
        ...

    def seconds_until_share(self, principal: str) -> Awaitable[float]:
        """Return 0 if a principal may use more of its share, else the seconds to wait."""
        ...


def share_delay(usage: Usage, limit: int, window_ms: int) -> float:
    """Return 0 if a principal used less than it leaves to others, else the seconds to wait.

    Args:
        usage: the requests of the last minute.
        limit: the limit of the reads of all principals.
        window_ms: milliseconds for which a request counts.
    """
    if usage.own < max(limit - usage.total, 1):
        return 0
    return max((window_ms - usage.oldest_own_ms) / 1_000, _MIN_WAIT_SECONDS)


class LocalRateLimiter:
    """The rate limiter of a process that does not share the limit.

    Args:
        clock: source of time.
        requests_per_minute: limit of the cloud.
        reserved_for_writes: part of the limit that reads may not use.
    """

    def __init__(
        self,
        clock: Clock,
        requests_per_minute: int = REQUESTS_PER_MINUTE,
        reserved_for_writes: int = RESERVED_FOR_WRITES,
    ) -> None:
        self._clock = clock
        self._requests_per_minute = requests_per_minute
        self._limits = budget_limits(requests_per_minute, reserved_for_writes)
        self._buckets = {
            budget: InMemoryBucket([Rate(limit, MINUTE_MILLISECONDS)])
            for budget, limit in self._limits.items()
        }

    async def seconds_until_share(self, principal: str) -> float:
        """Implement `RateLimiter.seconds_until_share`."""
        now_ms = int(self._clock.monotonic() * 1_000)
        bucket = self._buckets["all"]
        bucket.leak(now_ms)
        own = [item.timestamp for item in bucket.items if item.name == principal]
        usage = Usage(len(own), bucket.count(), now_ms - own[0] if own else 0)
        return share_delay(usage, self._limits["reads"], MINUTE_MILLISECONDS)

    async def try_acquire(self, budget: Budget, principal: str) -> float:
        """Implement `RateLimiter.try_acquire`."""
        now_ms = int(self._clock.monotonic() * 1_000)
        bucket = self._buckets[budget]
        bucket.leak(now_ms)
        seconds = try_acquire_from(bucket, now_ms, principal)
        if budget == "all" and (observer := OBSERVER.get()) is not None:
            observer.record_remaining_requests(self._requests_per_minute - bucket.count())
        return seconds


def budget_limits(requests_per_minute: int, reserved_for_writes: int) -> dict[Budget, int]:
    """Return the limit of each budget."""
    return {"all": requests_per_minute, "reads": requests_per_minute - reserved_for_writes}


def try_acquire_from(bucket: AbstractBucket, now_ms: int, principal: str) -> float:
    """Put one request into a synchronous bucket and return 0, or return the seconds to wait.

    Args:
        bucket: the requests of the last minute.
        now_ms: the time in milliseconds, by the bucket's clock.
        principal: the principal of the request.
    """
    item = RateItem(principal, now_ms)
    if bucket.put(item):
        return 0
    waiting_ms = cast("int", bucket.waiting(item))
    return max(waiting_ms / 1_000, _MIN_WAIT_SECONDS)


class RateLimitBlock:
    """The pause of all requests after the cloud refused one with 429.

    A pure state machine. Times are seconds of a clock that never goes back.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._refused_at = 0.0
        self._refusals = 0

    def remaining(self, now: float) -> float:
        """Return the seconds to wait before the next request; 0 if it may be sent."""
        return max(self._until - now, 0.0)

    def record_refusal(self, sent_at: float, now: float, retry_after: float | None) -> float:
        """Record a 429 and return the seconds to wait before the next request.

        Args:
            sent_at: time at which the request was sent.
            now: the current time.
            retry_after: seconds to wait according to the cloud, if it says so.
        """
        if now - self._refused_at > MAX_BLOCK_SECONDS:
            self._refusals = 0  # another block
        self._refused_at = now
        if sent_at >= self._until:  # otherwise it was sent before the pause, with the refused one
            first = FIRST_PAUSE_SECONDS if retry_after is None else MIN_PAUSE_SECONDS
            pause = min(first * 2**self._refusals, MAX_PAUSE_SECONDS)
            self._refusals = min(self._refusals + 1, _MAX_REFUSALS)
            self._until = now + pause
        requested = max(retry_after or 0.0, MIN_PAUSE_SECONDS)
        # A longer pause binds this request only: a mistaken hour must not stop all others.
        self._until = max(self._until, now + min(requested, MAX_BLOCK_SECONDS))
        return max(self._until - now, requested)
