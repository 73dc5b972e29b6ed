"""A cache of recent lookups. It serves what is shown, never a decision about a write."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

from snapshot_mcp.core.clock import Clock

T = TypeVar("T")

TTL_SECONDS = 15.0
"""Long enough to page through a list or to type a name; VM states may be this old there."""

MAX_ENTRIES = 16


class TtlCache(Generic[T]):
    """Results by key; old entries, and the least recently used ones, are dropped."""

    def __init__(self, clock: Clock) -> None:
        self._entries: TTLCache[Hashable, T] = TTLCache(
            MAX_ENTRIES, TTL_SECONDS, timer=clock.monotonic
        )

    async def refresh(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Load the value and keep it. An error of `load` is raised and not kept."""
        value = await load()
        self._entries[key] = value
        return value

    async def get(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Return the cached value, or load it."""
        value = self._entries.get(key)
        return await self.refresh(key, load) if value is None else value
