"""Client-side rate limit: stay below the number of requests that the cloud accepts per minute."""

from collections.abc import Awaitable
from typing import Literal, Protocol, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem
from pyrate_limiter.abstracts import AbstractBucket

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.instrumentation import OBSERVER

REQUESTS_PER_MINUTE = 500
"""Source: the cloud's documentation of its limit, for all requests of an API key."""

RESERVED_FOR_WRITES = 50

MINUTE_MILLISECONDS = 60_000
_MIN_WAIT_SECONDS = 0.01

Budget = Literal["reads", "all"]
"""A write consumes one request of "all"; a read consumes one of "reads" and one of "all"."""


class RateLimiter(Protocol):
    """Counts requests, for one process or for all processes that share the limit."""

    def try_acquire(self, budget: Budget) -> Awaitable[float]:
        """Consume one request and return 0, or return the seconds to wait before trying again."""
        ...


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
        limits = {"all": requests_per_minute, "reads": requests_per_minute - reserved_for_writes}
        self._buckets = {
            budget: InMemoryBucket([Rate(limit, MINUTE_MILLISECONDS)])
            for budget, limit in limits.items()
        }

    async def try_acquire(self, budget: Budget) -> float:
        """Implement `RateLimiter.try_acquire`."""
        now_ms = int(self._clock.monotonic() * 1_000)
        bucket = self._buckets[budget]
        bucket.leak(now_ms)
        seconds = try_acquire_from(bucket, now_ms)
        if budget == "all" and (observer := OBSERVER.get()) is not None:
            observer.record_remaining_requests(self._requests_per_minute - bucket.count())
        return seconds


def try_acquire_from(bucket: AbstractBucket, now_ms: int) -> float:
    """Put one request into a synchronous bucket and return 0, or return the seconds to wait.

    Args:
        bucket: the requests of the last minute.
        now_ms: the time in milliseconds, by the bucket's clock.
    """
    item = RateItem("request", now_ms)
    if bucket.put(item):
        return 0
    waiting_ms = cast("int", bucket.waiting(item))
    return max(waiting_ms / 1_000, _MIN_WAIT_SECONDS)
