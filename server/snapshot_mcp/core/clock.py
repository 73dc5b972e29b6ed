"""Time as an argument: what decides by it or waits for it is given a clock."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import anyio

_PARSE_CACHE_SIZE = 2_048


class Clock(NamedTuple):
    """Time.

    Attributes:
        now: the time of day, aware, in UTC; it may be set back or forth.
        sleep: waits for some seconds.
        elapsed: seconds since some moment; never goes back, so waits are measured by it.
    """

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    monotonic: Callable[[], float]


def utc_now() -> datetime:
    """The system's time, aware."""
    return datetime.now(UTC)


@lru_cache(_PARSE_CACHE_SIZE)
def parse_utc(text: str) -> datetime:
    """A date or time in ISO 8601, aware, in UTC; without a zone it is taken for UTC.

    The time of a list's entry is needed to order it and to show it, and lists are asked for again.

    Raises:
        ValueError: it is neither, or beyond what a date can hold.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("beyond what a date can hold") from error


SYSTEM_CLOCK = Clock(utc_now, anyio.sleep, time.monotonic)
