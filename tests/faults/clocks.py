"""A clock whose time of day can be set without affecting its monotonic time."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from snapshot_mcp.core.clock import Clock
from tests.conftest import ManualClock


class FaultTime(NamedTuple):
    """The time, as faults see and change it.

    Attributes:
        advance: lets some seconds pass.
        monotonic: seconds since an arbitrary moment.
        now: the time of day.
        jump: moves the time of day by some hours.
    """

    advance: Callable[[float], Awaitable[None]]
    monotonic: Callable[[], float]
    now: Callable[[], datetime]
    jump: Callable[[float], None]


class SkewedClock(ManualClock):
    """A clock whose time of day can be moved without any time passing.

    The cloud's clock (`cloud`) stays right: only the server's is moved.
    """

    time: datetime

    def __init__(self) -> None:
        super().__init__()
        self.start = self.time
        self._elapsed_seconds = 0.0
        self.can_jump: Callable[[], bool] = lambda: True

    def advance(self, **delta: float) -> None:
        super().advance(**delta)
        self._elapsed_seconds += timedelta(**delta).total_seconds()

    def jump(self, hours: float) -> None:
        """Move the time of day forwards or backwards, if `can_jump` allows it."""
        if self.can_jump():
            self.time += timedelta(hours=hours)

    def monotonic(self) -> float:
        return self._elapsed_seconds

    def cloud_now(self) -> datetime:
        return self.start + timedelta(seconds=self._elapsed_seconds)

    @property
    def cloud(self) -> Clock:
        return Clock(self.cloud_now, self.sleep, self.monotonic)

    @property
    def fault_time(self) -> FaultTime:
        return FaultTime(self.sleep, self.monotonic, self.now, self.jump)
