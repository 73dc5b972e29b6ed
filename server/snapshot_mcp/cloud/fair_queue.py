"""A semaphore that is fair between principals, so that one principal cannot delay the others."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from snapshot_mcp.core.errors import NOTHING_CHANGED, UnavailableError
from snapshot_mcp.core.request_context import Caller

RETRY_AFTER_SECONDS = 10.0

_Waiting = dict[str, deque[anyio.Event]]
"""The waiting requests of one principal, by client."""


class FairSemaphore:
    """A limited number of slots: round-robin between principals, and between the clients of one.

    The requests of a client are served in their order.

    Args:
        limit: number of slots that may be held at the same time.
        max_waiting: number of requests of one principal that may wait.
        noun: the requests, for error messages ("changes").
    """

    def __init__(self, limit: int, max_waiting: int, noun: str = "requests to the cloud") -> None:
        self._free = limit
        self._max_waiting = max_waiting
        self._noun = noun
        self._waiting: dict[str, _Waiting] = {}

    @asynccontextmanager
    async def slot(self, caller: Caller) -> AsyncGenerator[None]:
        """Hold a slot.

        Raises:
            UnavailableError: too many requests of the principal are waiting.
        """
        await self._acquire(caller)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, caller: Caller) -> None:
        if self._free:
            self._free -= 1
            return
        clients = self._waiting.setdefault(caller.principal, {})
        if sum(map(len, clients.values())) >= self._max_waiting:
            raise UnavailableError(
                f"{self._max_waiting} {self._noun} of yours are already waiting, which is the"
                " limit.",
                f"{NOTHING_CHANGED} Try again when some of them are done.",
                retry_after=RETRY_AFTER_SECONDS,
            )
        granted = anyio.Event()
        clients.setdefault(caller.client_id, deque()).append(granted)
        try:
            await granted.wait()
        except BaseException:
            if granted.is_set():
                self._release()  # granted and cancelled at the same moment
            else:
                self._remove_waiter(caller, granted)
            raise

    def _remove_waiter(self, caller: Caller, granted: anyio.Event) -> None:
        clients = self._waiting[caller.principal]
        clients[caller.client_id].remove(granted)
        if not clients[caller.client_id]:
            del clients[caller.client_id]
        if not clients:
            del self._waiting[caller.principal]

    def _release(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        # What is put back comes last, so its next turn is after the others.
        principal = next(iter(self._waiting))
        clients = self._waiting.pop(principal)
        client_id = next(iter(clients))
        queue = clients.pop(client_id)
        queue.popleft().set()
        if queue:
            clients[client_id] = queue
        if clients:
            self._waiting[principal] = clients
