"""Reconciliation: find out from the cloud whether a write without an answer took effect."""

from typing import Generic, NamedTuple, TypeVar

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.consent.write import Write
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import CloudError, ProtocolError

T = TypeVar("T")

LOOKUP_DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0, 4.0)
"""Pauses between lookups. The last lookup still finds an effect that is some seconds late."""

RECONCILE_TIMEOUT_SECONDS = 30.0


class LookupResult(NamedTuple, Generic[T]):
    """The result of looking for the effect of a write.

    Attributes:
        effect: the result of the write; None if its effect was not found.
        conclusive: whether the last lookup got an answer, so that None means "no effect".
    """

    effect: T | None
    conclusive: bool


async def find_effect(
    write: Write[T],
    reader: CloudReader,
    clock: Clock,
    delays: tuple[float, ...] = LOOKUP_DELAYS_SECONDS,
) -> LookupResult[T]:
    """Look for the effect of `write` until it is found or the time is over.

    Args:
        write: the write that was sent.
        reader: the reading half of the cloud client.
        clock: the clock that waits between the lookups.
        delays: pauses in seconds before the second and later lookups.
    """
    result = LookupResult[T](None, conclusive=False)
    with anyio.move_on_after(RECONCILE_TIMEOUT_SECONDS):
        for delay in (0.0, *delays):
            if delay:
                await clock.sleep(delay)
            try:
                result = LookupResult(await write.find_effect(reader), conclusive=True)
            except (CloudError, ProtocolError):
                result = LookupResult[T](None, conclusive=False)
            if result.effect is not None:
                return result
        return result
    return LookupResult(None, conclusive=False)
