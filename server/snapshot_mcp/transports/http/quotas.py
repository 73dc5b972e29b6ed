"""Quotas: requests per minute of each principal, and the size of a request."""

from typing import cast

from cachetools import LRUCache
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from snapshot_mcp.core.clock import Clock

MAX_REQUEST_BYTES = 1024 * 1024
"""Bytes of a request, about a hundred times what clients need."""

_MINUTE_MILLISECONDS = 60_000
_MAX_PRINCIPALS = 10_000


class Quotas:
    """Limits on the requests of each principal, in any sixty seconds.

    Args:
        requests_per_minute: the limit of each principal.
        clock: the clock.
    """

    def __init__(self, requests_per_minute: int, clock: Clock) -> None:
        self._rate = Rate(requests_per_minute, _MINUTE_MILLISECONDS)
        self._clock = clock
        self._buckets: LRUCache[str, InMemoryBucket] = LRUCache(_MAX_PRINCIPALS)

    def seconds_until_permitted(self, principal: str) -> float:
        """Count a request of `principal` if it is permitted.

        Returns:
            0 if the request is permitted, else the seconds until the next one is.
        """
        bucket = self._buckets.get(principal)
        if bucket is None:
            bucket = self._buckets[principal] = InMemoryBucket([self._rate])
        now = int(self._clock.monotonic() * 1_000)
        bucket.leak(now)
        item = RateItem("request", now)
        if bucket.put(item):
            return 0
        # Only other kinds of buckets return an awaitable.
        return cast("int", bucket.waiting(item)) / 1_000
