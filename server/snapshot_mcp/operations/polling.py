"""Polling: wait for the cloud, with a time limit and progress notifications."""

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
    """The result of a wait.

    Attributes:
        last: the value of the last successful fetch.
        problem: why the last fetch failed; empty if it did not.
    """

    last: T
    problem: str


async def poll_until(
    first: T,
    fetch: Callable[[], Awaitable[T]],
    is_final: Callable[[T], bool],
    describe: Callable[[T], str],
    *,
    seconds: float,
    clock: Clock,
) -> PollResult[T]:
    """Fetch a value repeatedly until it is final or the time is over, and report the progress.

    A fetch that fails does not end the wait: the next one may succeed.

    Args:
        first: the value at the start.
        fetch: returns the current value.
        is_final: returns whether the value will not change any more.
        describe: returns one line for the progress notification.
        seconds: the longest wait; 0 does not wait.
        clock: measures the time and waits.
    """
    started = clock.monotonic()
    last, problem, interval = first, "", _MIN_INTERVAL_SECONDS
    while not is_final(last):
        waited = clock.monotonic() - started
        # Sleeping for a tiny remainder may not change the clock's value, so the loop would not end.
        if seconds - waited < _MIN_FINAL_INTERVAL_SECONDS:
            break
        await current_caller().progress.report(waited, seconds, describe(last))
        await clock.sleep(min(interval, seconds - waited))
        interval = min(interval * 1.5, _MAX_INTERVAL_SECONDS)
        try:
            last, problem = await fetch(), ""
        except NotFoundError:
            problem = "the cloud does not find it at the moment"
        except (CloudError, ProtocolError):
            problem = "the cloud could not be read at the moment"
    return PollResult(last, problem)


async def wait_until_gone(
    is_gone: Callable[[], Awaitable[bool]], subject: str, *, seconds: float, clock: Clock
) -> bool:
    """Wait for a deletion, and return whether the cloud shows its end.

    Args:
        is_gone: reads whether the deletion is over; raises NotFoundError if it is.
        subject: what is deleted, for the progress notification ("Snapshot 1701").
        seconds: the longest wait.
        clock: measures the time and waits.
    """

    async def read() -> bool:
        try:
            return await is_gone()
        except NotFoundError:
            return True

    polled = await poll_until(
        False,  # noqa: FBT003 - the first state: not gone yet
        read,
        bool,
        lambda _gone: f"{subject} is being deleted",
        seconds=seconds,
        clock=clock,
    )
    return polled.last
