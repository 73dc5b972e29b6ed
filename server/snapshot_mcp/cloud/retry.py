"""Trying again what may well work in a moment and changed nothing: with pauses, and an end."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import count
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    AttemptManager,
    RetryCallState,
    retry_if_exception,
    wait_random_exponential,
)

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import CloudError
from snapshot_mcp.core.instrumentation import RETRY_COUNT
from snapshot_mcp.core.request_context import current_caller

T = TypeVar("T")

MAX_ATTEMPTS = 4
MIN_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 8.0
MAX_RETRY_AFTER_SECONDS = 86_400.0

# Full jitter: any time up to a limit that doubles, so that many clients do not come back at once.
_jitter = wait_random_exponential(multiplier=MIN_DELAY_SECONDS, max=MAX_DELAY_SECONDS)


async def retry_until(
    attempt: Callable[[], Awaitable[T]], clock: Clock, *, max_seconds: float
) -> T:
    """Await `attempt` until it works, fails for good, or the time is over.

    Args:
        attempt: raises a CloudError that is `transient` when a retry may work.
        clock: the time, and the way to wait.
        max_seconds: start no attempt later than this, and no pause that ends later.

    Raises:
        CloudError: the last attempt's, with what the cloud said of how long to wait.
    """
    started = clock.monotonic()
    try:
        return await attempt()
    except CloudError as error:
        # Nearly every attempt works: only those that do not pay for the library.
        if not error.transient:
            raise
        return await _retry(attempt, error, clock, ends=started + max_seconds)


async def _retry(
    attempt: Callable[[], Awaitable[T]], first: CloudError, clock: Clock, *, ends: float
) -> T:
    outcomes = iter([first])
    number = count(1)

    async def once() -> T:
        for failed_before in outcomes:
            raise failed_before
        token = RETRY_COUNT.set(next(number))
        try:
            return await attempt()
        finally:
            RETRY_COUNT.reset(token)

    return await _retrying(clock, ends)(once)


def retry_attempts(clock: Clock, *, max_seconds: float) -> AsyncRetrying:
    """Return the attempts of a loop that repeats its body as `retry_until` does.

    For callers in a higher layer: `async for attempt in retry_attempts(...): with attempt: ...`
    calls nothing back.

    Args:
        clock: the clock that waits between attempts.
        max_seconds: start no attempt later than this, and no pause that ends later.
    """
    return _retrying(clock, clock.monotonic() + max_seconds)


@contextmanager
def count_retries(attempt: AttemptManager) -> Generator[None]:
    """Let the instrumentation see which repetition this attempt is."""
    token = RETRY_COUNT.set(attempt.retry_state.attempt_number - 1)
    try:
        yield
    finally:
        RETRY_COUNT.reset(token)


def _retrying(clock: Clock, ends: float) -> AsyncRetrying:
    def is_enough(state: RetryCallState) -> bool:
        too_late = clock.monotonic() + state.upcoming_sleep > ends
        return too_late or state.attempt_number >= MAX_ATTEMPTS

    return AsyncRetrying(
        retry=retry_if_exception(_is_transient),
        wait=_wait_seconds,
        stop=is_enough,
        sleep=partial(_sleep, clock),
        reraise=True,
    )


def parse_retry_after(retry_after: str, clock: Clock) -> float | None:
    """What a Retry-After header says, in seconds from now; None for none, or no sense.

    Source: RFC 9110, 10.2.3: a number of seconds, or a date.
    """
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(retry_after)
        seconds = (moment - clock.now()).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, CloudError) and error.transient


def _wait_seconds(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    advised = error.retry_after if isinstance(error, CloudError) else None
    return max(_jitter(state), advised or 0.0)


async def _sleep(clock: Clock, seconds: float) -> None:
    await current_caller().progress.report_delay(
        f"The cloud is busy; trying again in {seconds:.1f} s"
    )
    await clock.sleep(seconds)
