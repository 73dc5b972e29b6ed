"""How many requests the cloud takes in a minute, and how many of them were used."""

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
"""What a request uses up: a write one of all, a read one of the reads' part as well."""


class RateLimiter(Protocol):
    """What may be sent, counted for one process or for all that share the limit."""

    def try_acquire(self, budget: Budget) -> Awaitable[float]:
        """Use up one of `part`, which is told by 0; or how long to wait before asking again."""
        ...


class LocalRateLimiter:
    """The allowance of a process that has the limit for itself.

    Args:
        clock: the time.
        a_minute: requests that the cloud takes in a minute.
        kept_for_writes: of these, how many no read may use.
    """

    def __init__(
        self,
        clock: Clock,
        requests_per_minute: int = REQUESTS_PER_MINUTE,
        reserved_for_writes: int = RESERVED_FOR_WRITES,
    ) -> None:
        self._clock = clock
        self._requests_per_minute = requests_per_minute
        self._buckets = {
            "all": InMemoryBucket([Rate(requests_per_minute, MINUTE_MILLISECONDS)]),
            "reads": InMemoryBucket(
                [Rate(requests_per_minute - reserved_for_writes, MINUTE_MILLISECONDS)]
            ),
        }

    async def try_acquire(self, budget: Budget) -> float:
        """As `Allowance.seconds_until_permitted`."""
        now = int(self._clock.monotonic() * 1_000)
        bucket = self._buckets[budget]
        bucket.leak(now)
        seconds = try_acquire_from(bucket, now)
        if budget == "all" and (observer := OBSERVER.get()) is not None:
            observer.record_remaining_requests(self._requests_per_minute - bucket.count())
        return seconds


def try_acquire_from(bucket: AbstractBucket, now_ms: int) -> float:
    """Put one request into a bucket of the kind that answers at once; 0, or how long to wait.

    Args:
        bucket: where the requests of the last while are.
        now_ms: the time in milliseconds, by the bucket's clock.
    """
    item = RateItem("request", now_ms)
    if bucket.put(item):
        return 0
    waiting = cast("int", bucket.waiting(item))
    return max(waiting / 1_000, _MIN_WAIT_SECONDS)
