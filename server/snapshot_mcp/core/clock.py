"""Clocks: time is passed as an argument to every function that depends on it."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import anyio

_PARSE_CACHE_SIZE = 2_048


class Clock(NamedTuple):
    """A source of time.

    Attributes:
        now: returns the time of day, aware, in UTC. The system may set it forwards or backwards.
        sleep: waits for a number of seconds.
        monotonic: returns seconds since an arbitrary moment. It never goes back, so use it to
            measure durations.
    """

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    monotonic: Callable[[], float]


def utc_now() -> datetime:
    """Return the system's time, aware, in UTC."""
    return datetime.now(UTC)


@lru_cache(_PARSE_CACHE_SIZE)
def parse_utc(text: str) -> datetime:
    """Parse an ISO 8601 date or time into an aware UTC time; without a time zone it is UTC.

    Cached, because the same lists are read repeatedly.

    Raises:
        ValueError: it is not a date or time, or is outside the range of `datetime`.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is outside the range of dates") from error


SYSTEM_CLOCK = Clock(utc_now, anyio.sleep, time.monotonic)
