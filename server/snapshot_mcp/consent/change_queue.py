"""The queue of changes: one at a time, and in turns between the principals of this process.

Between processes and replicas, the order is that of their shared lock. Each has one change at most
that waits for it, so the principals of one process do not delay those of another for long.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio

from snapshot_mcp.cloud.fair_queue import FairSemaphore
from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.core.request_context import CALLER, current_caller

MAX_WAITING_CHANGES = 20
"""Changes of one principal that wait, for each process."""

_TIMEOUT_SECONDS = 60.0


class ChangeQueue:
    """Lets one change at a time proceed.

    Args:
        change_lock: opens a lock that one server at a time holds, of all that share the ledger.
        wait_for_share: waits until the caller may send more requests to the cloud.
    """

    def __init__(
        self,
        change_lock: Callable[[], AbstractAsyncContextManager[None]],
        wait_for_share: Callable[[], Awaitable[None]],
    ) -> None:
        self._slot = FairSemaphore(1, MAX_WAITING_CHANGES, "changes")
        self._change_lock = change_lock
        self._wait_for_share = wait_for_share

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Hold the turn of one change, across all servers on this ledger.

        Raises:
            RefusedError: other changes were in progress for a minute.
            UnavailableError: too many changes of the principal are waiting.
            RateLimitedError: the principal's share of the cloud's rate limit is used up.
            LedgerError: the lock cannot be used.
        """
        async with AsyncExitStack() as locks:
            try:
                with anyio.fail_after(_TIMEOUT_SECONDS):
                    # A change in progress does not wait for a share, because others wait for it.
                    await self._wait_for_share()
                    await locks.enter_async_context(self._slot.slot(current_caller()))
                    await locks.enter_async_context(self._change_lock())
            except TimeoutError as error:
                raise RefusedError(
                    "Another change is in progress, and changes are made one at a time.",
                    f"{NOTHING_CHANGED} Try again in a minute.",
                ) from error
            token = CALLER.set(current_caller()._replace(is_changing=True))
            try:
                yield
            finally:
                CALLER.reset(token)
