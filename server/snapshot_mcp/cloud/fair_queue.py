"""A semaphore that is fair between clients, so that one client cannot delay the others."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from snapshot_mcp.core.errors import NOTHING_CHANGED, UnavailableError

MAX_WAITING = 1_000


class FairSemaphore:
    """A limited number of slots: round-robin between clients, first come first served within one.

    Args:
        limit: number of slots that may be held at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: dict[str, deque[anyio.Event]] = {}
        self._waiting_count = 0

    @asynccontextmanager
    async def slot(self, client_id: str) -> AsyncGenerator[None]:
        """Hold a slot.

        Raises:
            UnavailableError: too many requests are waiting.
        """
        await self._acquire(client_id)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, client_id: str) -> None:
        if self._free:
            self._free -= 1
            return
        if self._waiting_count >= MAX_WAITING:
            raise UnavailableError(
                f"This server is busy: {MAX_WAITING} requests are already waiting.",
                f"{NOTHING_CHANGED} Try again in a moment.",
            )
        await self._wait(client_id)

    async def _wait(self, client_id: str) -> None:
        granted = anyio.Event()
        self._waiting.setdefault(client_id, deque()).append(granted)
        self._waiting_count += 1
        try:
            await granted.wait()
        except BaseException:
            if granted.is_set():
                self._release()  # granted and cancelled at the same moment
            else:
                self._remove_waiter(client_id, granted)
            raise

    def _remove_waiter(self, client_id: str, granted: anyio.Event) -> None:
        self._waiting[client_id].remove(granted)
        self._waiting_count -= 1
        if not self._waiting[client_id]:
            del self._waiting[client_id]

    def _release(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        client_id = next(iter(self._waiting))
        queue = self._waiting.pop(client_id)
        self._waiting_count -= 1
        queue.popleft().set()
        if queue:
            self._waiting[client_id] = queue  # its next turn is after the other clients
