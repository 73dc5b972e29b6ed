"""Time as an argument: what decides by it or waits for it is given a clock."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

import anyio


class Clock(NamedTuple):
    """The time now (aware, UTC), and a way to wait for some seconds."""

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]


def utc_now() -> datetime:
    """The system's time, aware."""
    return datetime.now(UTC)


SYSTEM_CLOCK = Clock(utc_now, anyio.sleep)
