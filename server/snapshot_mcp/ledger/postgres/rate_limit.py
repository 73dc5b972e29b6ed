"""The cloud's limit of requests, held by all replicas together."""

from typing import cast

import anyio
from pyrate_limiter import PostgresBucket, Rate

from snapshot_mcp.cloud.rate_limit import (
    REQUESTS_PER_MINUTE,
    RESERVED_FOR_WRITES,
    Budget,
    try_acquire_from,
)
from snapshot_mcp.core.instrumentation import OBSERVER
from snapshot_mcp.ledger.postgres.database import Database

WINDOW_MILLISECONDS = 61_000
"""A little more than a minute: requests are counted here and arrive there, some sooner than
others."""

_LEAK_EVERY_MILLISECONDS = 10_000


class SharedRateLimiter:
    """What all replicas together may send.

    Args:
        database: where they count.
        a_minute: requests that the cloud takes in a minute.
        kept_for_writes: of these, how many no read may use.
    """

    def __init__(
        self,
        database: Database,
        a_minute: int = REQUESTS_PER_MINUTE,
        kept_for_writes: int = RESERVED_FOR_WRITES,
    ) -> None:
        self._database = database
        self._most = {"all": a_minute, "reads": a_minute - kept_for_writes}
        self._buckets: dict[str, PostgresBucket] = {}
        self._leaked = 0
        self._one_at_a_time = anyio.Lock()

    async def try_acquire(self, budget: Budget) -> float:
        """As `Allowance.seconds_until_permitted`.

        Raises:
            LedgerError: the database cannot be used.
        """
        async with self._one_at_a_time:  # a bucket remembers its last answer, for one to read
            return await self._database.use(lambda: self._ask(budget))

    def _ask(self, part: Budget) -> float:
        bucket = self._buckets.get(part) or self._made(part)
        now = cast("int", bucket.now())  # other clocks answer later
        if now - self._leaked > _LEAK_EVERY_MILLISECONDS:
            for it in self._buckets.values():
                it.leak(now)
            self._leaked = now
        seconds = try_acquire_from(bucket, now)
        if part == "all" and (observer := OBSERVER.get()) is not None:
            # Those of the last ten seconds before the window may be counted still.
            observer.record_remaining_requests(
                max(self._most[part] - cast("int", bucket.count()), 0)
            )
        return seconds

    def _made(self, part: Budget) -> PostgresBucket:
        with self._database.connection():
            pass  # the schema is there
        rate = Rate(self._most[part], WINDOW_MILLISECONDS)
        self._buckets[part] = PostgresBucket(self._database.pool, part, [rate])
        return self._buckets[part]
