"""Settling: what came of a write whose answer never came, found out by looking at the cloud."""

from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

import anyio

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import CloudError, ProtocolError

T = TypeVar("T")

EffectLookup = Callable[[], Awaitable[T | None]]
"""Looks for the effect of a write; None when the cloud does not show it."""

LOOKUP_DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0, 4.0)
"""Before each look but the first: what the cloud does late is seen by the last one."""

RECONCILE_TIMEOUT_SECONDS = 30.0


class LookupResult(NamedTuple, Generic[T]):
    """What the looks ended with.

    Attributes:
        effect: what the write made; None when it was not seen.
        looked: whether the last look could be had, so that not seeing it says something.
    """

    effect: T | None
    conclusive: bool


async def find_effect(
    look: EffectLookup[T], clock: Clock, pauses: tuple[float, ...] = LOOKUP_DELAYS_SECONDS
) -> LookupResult[T]:
    """Look until the effect is seen or the time is over; a look that fails is no answer."""
    seen = LookupResult[T](None, conclusive=False)
    with anyio.move_on_after(RECONCILE_TIMEOUT_SECONDS):
        for pause in (0.0, *pauses):
            if pause:
                await clock.sleep(pause)
            try:
                seen = LookupResult(await look(), conclusive=True)
            except (CloudError, ProtocolError):
                seen = LookupResult[T](None, conclusive=False)
            if seen.effect is not None:
                return seen
        return seen
    return LookupResult(None, conclusive=False)
