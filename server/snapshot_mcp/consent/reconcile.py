"""Settling: what came of a write whose answer never came, found out by looking at the cloud."""

from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

import anyio

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import CloudError, ProtocolError

T = TypeVar("T")

Look = Callable[[], Awaitable[T | None]]
"""Looks for the effect of a write; None when the cloud does not show it."""

PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 4.0)
"""Before each look but the first: what the cloud does late is seen by the last one."""

LONGEST_SETTLING_SECONDS = 30.0


class Seen(NamedTuple, Generic[T]):
    """What the looks ended with.

    Attributes:
        effect: what the write made; None when it was not seen.
        looked: whether the last look could be had, so that not seeing it says something.
    """

    effect: T | None
    looked: bool


async def look_for(
    look: Look[T], clock: Clock, pauses: tuple[float, ...] = PAUSES_SECONDS
) -> Seen[T]:
    """Look until the effect is seen or the time is over; a look that fails is no answer."""
    seen = Seen[T](None, looked=False)
    with anyio.move_on_after(LONGEST_SETTLING_SECONDS):
        for pause in (0.0, *pauses):
            if pause:
                await clock.sleep(pause)
            try:
                seen = Seen(await look(), looked=True)
            except (CloudError, ProtocolError):
                seen = Seen[T](None, looked=False)
            if seen.effect is not None:
                return seen
        return seen
    return Seen(None, looked=False)
