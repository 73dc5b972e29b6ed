"""A cache of recent lookups for display. Decisions about writes never use it."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

from snapshot_mcp.core.clock import Clock

T = TypeVar("T")

TTL_SECONDS = 15.0
"""Long enough to page through a list or to type a name. VM states shown there may be this old."""

MAX_ENTRIES = 16


class TtlCache(Generic[T]):
    """Values by key. Expired and least recently used entries are dropped."""

    def __init__(self, clock: Clock) -> None:
        self._entries: TTLCache[Hashable, T] = TTLCache(
            MAX_ENTRIES, TTL_SECONDS, timer=clock.monotonic
        )

    async def refresh(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Load a value and cache it. An error that `load` raises is not cached."""
        value = await load()
        self._entries[key] = value
        return value

    async def get(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Return the cached value, or load it."""
        value = self._entries.get(key)
        return await self.refresh(key, load) if value is None else value
