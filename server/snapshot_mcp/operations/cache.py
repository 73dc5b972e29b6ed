"""What was looked up a moment ago: for what is shown, never for a decision about a write."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

from snapshot_mcp.core.clock import Clock

T = TypeVar("T")

TTL_SECONDS = 15.0
"""So long a person pages through a list, or types a name; a VM's state may be so old there."""

MAX_ENTRIES = 16


class TtlCache(Generic[T]):
    """Look-ups by what was looked for; old ones and the least used are forgotten.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._kept: TTLCache[Hashable, T] = TTLCache(
            MAX_ENTRIES, TTL_SECONDS, timer=clock.monotonic
        )

    async def fresh(self, key: Hashable, look: Callable[[], Awaitable[T]]) -> T:
        """Look now, and keep what was seen. Errors are those of `look`; they are not kept."""
        seen = await look()
        self._kept[key] = seen
        return seen

    async def get(self, key: Hashable, look: Callable[[], Awaitable[T]]) -> T:
        """What was seen a moment ago, or a look now."""
        seen = self._kept.get(key)
        return await self.fresh(key, look) if seen is None else seen
