"""Turns: a few at a time, and clients in turn, so that none keeps the others waiting."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from snapshot_mcp.core.errors import UnavailableError

MAX_WAITING = 1_000


class FairSemaphore:
    """A number of turns that are taken and given back.

    Within a client the first come is the first served; between clients it goes round.

    Args:
        most: how many may have a turn at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: dict[str, deque[anyio.Event]] = {}
        self._waiting_count = 0

    @asynccontextmanager
    async def slot(self, client: str) -> AsyncGenerator[None]:
        """Have a turn.

        Raises:
            Unavailable: too many are waiting already.
        """
        await self._acquire(client)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, client: str) -> None:
        if self._free:
            self._free -= 1
            return
        if self._waiting_count >= MAX_WAITING:
            raise UnavailableError(
                f"This server is busy: {MAX_WAITING} requests are waiting already.",
                "Nothing was changed. Try again in a moment.",
            )
        await self._wait(client)

    async def _wait(self, client: str) -> None:
        mine = anyio.Event()
        self._waiting.setdefault(client, deque()).append(mine)
        self._waiting_count += 1
        try:
            await mine.wait()
        except BaseException:
            if mine.is_set():
                self._release()  # the turn came in the moment of the cancellation
            else:
                self._remove_waiter(client, mine)
            raise

    def _remove_waiter(self, client: str, mine: anyio.Event) -> None:
        self._waiting[client].remove(mine)
        self._waiting_count -= 1
        if not self._waiting[client]:
            del self._waiting[client]

    def _release(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        client = next(iter(self._waiting))
        queue = self._waiting.pop(client)
        self._waiting_count -= 1
        queue.popleft().set()
        if queue:
            self._waiting[client] = queue  # at the end of the round
