"""Quotas: the requests of each principal per minute and per second."""

from typing import cast

from cachetools import LRUCache
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from snapshot_mcp.core.clock import Clock

MIN_BURST = 60
"""Requests within one second that every quota permits. One event loop serves all principals, so a
minute's requests in one moment would delay the others."""

_BURST_FRACTION = 10
_SECOND_MILLISECONDS = 1_000
_MINUTE_MILLISECONDS = 60_000
_MAX_PRINCIPALS = 10_000


class Quotas:
    """Limits on the requests of each principal, in any sixty seconds and in any second.

    Args:
        requests_per_minute: the limit of each principal.
        clock: the clock.
    """

    def __init__(self, requests_per_minute: int, clock: Clock) -> None:
        burst = max(requests_per_minute // _BURST_FRACTION, MIN_BURST)
        self._rates = [Rate(requests_per_minute, _MINUTE_MILLISECONDS)]
        if burst < requests_per_minute:
            self._rates.insert(0, Rate(burst, _SECOND_MILLISECONDS))
        self._clock = clock
        self._buckets: LRUCache[str, InMemoryBucket] = LRUCache(_MAX_PRINCIPALS)

    def seconds_until_permitted(self, principal: str) -> float:
        """Count a request of `principal` if it is permitted.

        Returns:
            0 if the request is permitted, else the seconds until the next one is.
        """
        bucket = self._buckets.get(principal)
        if bucket is None:
            bucket = self._buckets[principal] = InMemoryBucket(list(self._rates))
        now = int(self._clock.monotonic() * 1_000)
        bucket.leak(now)
        item = RateItem("request", now)
        if bucket.put(item):
            return 0
        # Only other kinds of buckets return an awaitable.
        return cast("int", bucket.waiting(item)) / 1_000
