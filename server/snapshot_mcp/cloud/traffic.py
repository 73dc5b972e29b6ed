"""When a request may leave: a few at a time, within the cloud's limit, not into an outage.

Reads leave room for writes: they have turns and a part of the limit of their own.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import anyio
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from snapshot_mcp.caller import current_caller
from snapshot_mcp.clock import Clock
from snapshot_mcp.cloud.circuit import Circuit, Outage
from snapshot_mcp.cloud.turns import Turns
from snapshot_mcp.errors import OutcomeUnknown, Unavailable

REQUESTS_A_MINUTE = 500
"""Source: the cloud's documentation of its limit, for all requests of an API key."""

KEPT_FOR_WRITES = 50
READS_AT_ONCE = 8
WRITES_AT_ONCE = 2

_MINUTE_MILLISECONDS = 60_000
_SHORTEST_WAIT_SECONDS = 0.01


class Traffic:
    """What leaves this process for the cloud; one for all calls.

    Args:
        clock: the time, and the way to wait.
        circuit: whether the cloud is asked at all.
        a_minute: requests that the cloud takes in a minute.
        kept_for_writes: of these, how many no read may use.
    """

    def __init__(
        self,
        clock: Clock,
        circuit: Circuit,
        *,
        a_minute: int = REQUESTS_A_MINUTE,
        kept_for_writes: int = KEPT_FOR_WRITES,
    ) -> None:
        self._clock = clock
        self._circuit = circuit
        self._all = InMemoryBucket([Rate(a_minute, _MINUTE_MILLISECONDS)])
        self._reads = InMemoryBucket([Rate(a_minute - kept_for_writes, _MINUTE_MILLISECONDS)])
        self._reading = Turns(READS_AT_ONCE)
        self._writing = Turns(WRITES_AT_ONCE)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[None]:
        """The turn of one read.

        Raises:
            Unavailable: the cloud is down, or too many wait; nothing was sent.
        """
        async with self._reading.one(current_caller().client):
            await self._permit(self._reads)
            yield

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """The turn of one write. Raises as `reading` does."""
        async with self._writing.one(current_caller().client):
            await self._permit()
            yield

    @asynccontextmanager
    async def exchange(self) -> AsyncGenerator[None]:
        """One request and its answer, of which the circuit learns.

        Raises:
            Unavailable: the cloud is down; nothing was sent.
        """
        _refuse_outage(self._circuit.admit(self._clock.elapsed()))
        try:
            yield
        except (Unavailable, OutcomeUnknown):
            self._circuit.failed(self._clock.elapsed(), self._clock.now())
            raise
        except anyio.get_cancelled_exc_class():
            self._circuit.abandoned()
            raise
        except BaseException:
            self._circuit.succeeded()
            raise
        self._circuit.succeeded()

    async def _permit(self, *buckets: InMemoryBucket) -> None:
        # Looked at before the wait as well: nobody waits in a queue for what is down.
        _refuse_outage(self._circuit.outage(self._clock.elapsed()))
        for bucket in (*buckets, self._all):
            while (seconds := self._seconds_until_permitted(bucket)) > 0:
                await current_caller().news.tell(
                    f"The cloud's limit of requests is used up; going on in {seconds:.0f} s"
                )
                await self._clock.sleep(seconds)

    def _seconds_until_permitted(self, bucket: InMemoryBucket) -> float:
        now = int(self._clock.elapsed() * 1_000)
        bucket.leak(now)
        item = RateItem("request", now)
        if bucket.put(item):
            return 0
        waiting = cast("int", bucket.waiting(item))  # other kinds of buckets answer later
        return max(waiting / 1_000, _SHORTEST_WAIT_SECONDS)


def _refuse_outage(outage: Outage | None) -> None:
    if outage is not None:
        raise Unavailable(
            f"The cloud has not answered since {outage.since:%Y-%m-%d %H:%M:%S} UTC, so it was not"
            f" asked now; it is asked again in {outage.seconds:.0f} s.",
            "Nothing was changed. Try again then.",
            retry_after=outage.seconds,
            passing=False,
        )
