"""Retries of transient failures, with random pauses and a deadline."""

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
    wait_random,
    wait_random_exponential,
)

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import CloudError, RateLimitedError
from snapshot_mcp.core.instrumentation import RETRY_COUNT
from snapshot_mcp.core.request_context import current_caller

T = TypeVar("T")

MAX_ATTEMPTS = 4
MIN_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 8.0
MAX_RETRY_AFTER_SECONDS = 86_400.0

MAX_RATE_LIMIT_ATTEMPTS = 5
RATE_LIMIT_TIMEOUT_SECONDS = 65.0
"""Time limit for waiting until the cloud's limit of requests allows another attempt. It covers the
longest block, a minute; the other time limits do not include it."""

# Full jitter: a random pause up to a limit that doubles, so that clients do not retry in step.
_jitter = wait_random_exponential(multiplier=MIN_DELAY_SECONDS, max=MAX_DELAY_SECONDS)
# The pause after a 429 is exact and shared by all requests; spread them out at its end.
_spread = wait_random(0.0, 1.0)


async def retry_until(
    attempt: Callable[[], Awaitable[T]], clock: Clock, *, max_seconds: float
) -> T:
    """Await `attempt` until it succeeds, fails permanently, or the time is up.

    Args:
        attempt: raises a CloudError that is `transient` if a retry may work.
        clock: source of time.
        max_seconds: no attempt starts after this time, and no pause that would end after it. After
            a 429 it is at least `RATE_LIMIT_TIMEOUT_SECONDS`.

    Raises:
        CloudError: the error of the last attempt, with the cloud's `retry_after`.
    """
    started = clock.monotonic()
    try:
        return await attempt()
    except CloudError as error:
        # Nearly every attempt succeeds, so only failures pay for the overhead of tenacity.
        if not error.transient:
            raise
        return await _retry(attempt, error, clock, started, max_seconds)


async def _retry(
    attempt: Callable[[], Awaitable[T]],
    first_error: CloudError,
    clock: Clock,
    started: float,
    max_seconds: float,
) -> T:
    past_errors = iter([first_error])
    retry_numbers = count(1)

    async def next_attempt() -> T:
        for error in past_errors:
            raise error  # the first attempt has failed already; tenacity must count it
        token = RETRY_COUNT.set(next(retry_numbers))
        try:
            return await attempt()
        finally:
            RETRY_COUNT.reset(token)

    return await _build_retrying(clock, started, max_seconds)(next_attempt)


def retry_attempts(clock: Clock, *, max_seconds: float) -> AsyncRetrying:
    """Return an iterator of attempts with the pauses and limits of `retry_until`.

    Use it in a higher layer as `async for attempt in retry_attempts(...): with attempt: ...`. No
    callback is needed, so this layer does not call a higher one.

    Args:
        clock: source of time.
        max_seconds: as in `retry_until`.
    """
    return _build_retrying(clock, clock.monotonic(), max_seconds)


@contextmanager
def count_retries(attempt: AttemptManager) -> Generator[None]:
    """Set the retry count of this attempt for the instrumentation."""
    token = RETRY_COUNT.set(attempt.retry_state.attempt_number - 1)
    try:
        yield
    finally:
        RETRY_COUNT.reset(token)


def _build_retrying(clock: Clock, started: float, max_seconds: float) -> AsyncRetrying:
    def should_stop(state: RetryCallState) -> bool:
        limit, max_attempts = max_seconds, MAX_ATTEMPTS
        if isinstance(_error_of(state), RateLimitedError):
            limit = max(max_seconds, RATE_LIMIT_TIMEOUT_SECONDS)
            max_attempts = MAX_RATE_LIMIT_ATTEMPTS
        too_late = clock.monotonic() + state.upcoming_sleep > started + limit
        return too_late or state.attempt_number >= max_attempts

    return AsyncRetrying(
        retry=retry_if_exception(_is_transient),
        wait=_wait_seconds,
        stop=should_stop,
        sleep=partial(_sleep, clock),
        reraise=True,
    )


def parse_retry_after(header: str, clock: Clock) -> float | None:
    """Return a Retry-After header as seconds from now; None if it is empty or invalid.

    Source: RFC 9110, 10.2.3: a number of seconds, or a date.
    """
    if not header:
        return None
    if header.isascii() and header.isdigit():
        return min(float(header[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        date = parsedate_to_datetime(header)
        seconds = (date - clock.now()).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, CloudError) and error.transient


def _wait_seconds(state: RetryCallState) -> float:
    error = _error_of(state)
    retry_after = error.retry_after if isinstance(error, CloudError) else None
    if isinstance(error, RateLimitedError):
        return (retry_after or 0.0) + _spread(state)
    return max(_jitter(state), retry_after or 0.0)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


async def _sleep(clock: Clock, seconds: float) -> None:
    await current_caller().progress.report_delay(
        f"The cloud is busy; trying again in {seconds:.1f} s"
    )
    await clock.sleep(seconds)
