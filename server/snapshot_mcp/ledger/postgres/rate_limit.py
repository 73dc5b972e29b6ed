"""The cloud's rate limit, shared by all replicas."""

from typing import LiteralString, cast

import anyio
from pyrate_limiter import PostgresBucket, Rate

from snapshot_mcp.cloud.rate_limit import (
    REQUESTS_PER_MINUTE,
    RESERVED_FOR_WRITES,
    Budget,
    Usage,
    budget_limits,
    share_delay,
    try_acquire_from,
)
from snapshot_mcp.core.instrumentation import OBSERVER
from snapshot_mcp.ledger.postgres.database import Database

WINDOW_MILLISECONDS = 61_000
"""Longer than a minute: requests are counted here before they arrive, with varying delay."""

_LEAK_INTERVAL_MILLISECONDS = 10_000
_USAGE: LiteralString = """SELECT COUNT(*) FILTER (WHERE name = %(principal)s), COUNT(*),
    COALESCE(%(now)s - 1000 * extract(epoch FROM MIN(item_timestamp) FILTER
        (WHERE name = %(principal)s)), 0)::float
    FROM ratelimit___all WHERE item_timestamp >= TO_TIMESTAMP((%(now)s - %(window)s) / 1000.0)"""
# pyrate-limiter's table of the budget "all"; the name of an item is its principal.


class SharedRateLimiter:
    """A `RateLimiter` for all replicas together.

    Args:
        database: the shared database.
        requests_per_minute: requests that the cloud accepts in a minute.
        reserved_for_writes: number of them that reads cannot use.
    """

    def __init__(
        self,
        database: Database,
        requests_per_minute: int = REQUESTS_PER_MINUTE,
        reserved_for_writes: int = RESERVED_FOR_WRITES,
    ) -> None:
        self._database = database
        self._limits = budget_limits(requests_per_minute, reserved_for_writes)
        self._buckets: dict[str, PostgresBucket] = {}
        self._leaked_at = 0
        self._lock = anyio.Lock()

    async def seconds_until_share(self, principal: str) -> float:
        """Return the seconds to wait, as `RateLimiter.seconds_until_share` does.

        Raises:
            LedgerError: the database cannot be used.
        """
        usage = await self._database.use(lambda: self._read_usage(principal))
        return share_delay(usage, self._limits["reads"], WINDOW_MILLISECONDS)

    async def try_acquire(self, budget: Budget, principal: str) -> float:
        """Use up one request, or return the seconds to wait, as `RateLimiter.try_acquire` does.

        Raises:
            LedgerError: the database cannot be used.
        """
        async with self._lock:  # a bucket stores its last result for one caller
            return await self._database.use(lambda: self._try_acquire(budget, principal))

    def _read_usage(self, principal: str) -> Usage:
        bucket = self._buckets.get("all") or self._create_bucket("all")
        now = cast("int", bucket.now())
        parameters = {"principal": principal, "now": now, "window": WINDOW_MILLISECONDS}
        with self._database.connection() as connection:
            row = connection.execute(_USAGE, parameters).fetchone()
        return Usage(*row) if row else Usage(0, 0, 0)

    def _try_acquire(self, budget: Budget, principal: str) -> float:
        bucket = self._buckets.get(budget) or self._create_bucket(budget)
        now = cast("int", bucket.now())  # only buckets with an async clock return an awaitable
        if now - self._leaked_at > _LEAK_INTERVAL_MILLISECONDS:
            for leaking in self._buckets.values():
                leaking.leak(now)
            self._leaked_at = now
        seconds = try_acquire_from(bucket, now, principal)
        if budget == "all" and (observer := OBSERVER.get()) is not None:
            # This may still count requests of the last ten seconds before the window.
            observer.record_remaining_requests(
                max(self._limits[budget] - cast("int", bucket.count()), 0)
            )
        return seconds

    def _create_bucket(self, budget: Budget) -> PostgresBucket:
        with self._database.connection():
            pass  # creates the schema
        rate = Rate(self._limits[budget], WINDOW_MILLISECONDS)
        self._buckets[budget] = PostgresBucket(self._database.pool, budget, [rate])
        return self._buckets[budget]
