"""Waiting for the cloud, with an end and with news on the way."""

from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import CloudError, NotFoundError, ProtocolError
from snapshot_mcp.core.request_context import current_caller

T = TypeVar("T")

_MIN_INTERVAL_SECONDS = 0.2
_MAX_INTERVAL_SECONDS = 5.0
_MIN_FINAL_INTERVAL_SECONDS = 0.001


class PollResult(NamedTuple, Generic[T]):
    """What a wait ended with.

    Attributes:
        last: the thing as last seen.
        trouble: why it could not be looked at in the end; empty when it could.
    """

    last: T
    trouble: str


async def poll_until(
    first: T,
    look: Callable[[], Awaitable[T]],
    is_final: Callable[[T], bool],
    describe: Callable[[T], str],
    *,
    seconds: float,
    clock: Clock,
) -> PollResult[T]:
    """Look again and again until it is final or the time is over; the caller is told.

    A look that fails is no failure of what is waited for: the next one may succeed.

    Args:
        first: the thing as first seen.
        look: sees it again.
        is_final: whether nothing more will come.
        describe: one line for the progress notification.
        seconds: how long to wait at most; 0 does not wait.
        clock: the time, and the way to wait.
    """
    started = clock.monotonic()
    last, trouble, pause = first, "", _MIN_INTERVAL_SECONDS
    while not is_final(last):
        waited = clock.monotonic() - started
        # A rest that is too small for a float to add up would be waited for without end.
        if seconds - waited < _MIN_FINAL_INTERVAL_SECONDS:
            break
        await current_caller().progress.report(waited, seconds, describe(last))
        await clock.sleep(min(pause, seconds - waited))
        pause = min(pause * 1.5, _MAX_INTERVAL_SECONDS)
        try:
            last, trouble = await look(), ""
        except NotFoundError:
            trouble = "the cloud does not know it at the moment"
        except (CloudError, ProtocolError):
            trouble = "the cloud could not be asked at the moment"
    return PollResult(last, trouble)
