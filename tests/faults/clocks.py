"""A clock whose time of day can be set while elapsed time goes on undisturbed."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from snapshot_mcp.core.clock import Clock
from tests.conftest import ManualClock


class FaultTime(NamedTuple):
    """The time, as faults see and change it.

    Attributes:
        advance: lets some seconds pass.
        elapsed: seconds since an arbitrary moment.
        now: the time of day.
        jump: moves the time of day by some hours.
    """

    advance: Callable[[float], Awaitable[None]]
    elapsed: Callable[[], float]
    now: Callable[[], datetime]
    jump: Callable[[float], None]


class SkewedClock(ManualClock):
    """A clock whose time of day can be moved without any time passing.

    The cloud's clock (`cloud`) stays right: only the server's is moved.
    """

    time: datetime

    def __init__(self) -> None:
        super().__init__()
        self._born = self.time
        self._gone_by = 0.0

    def turn(self, **delta: float) -> None:
        super().advance(**delta)
        self._gone_by += timedelta(**delta).total_seconds()

    def jump(self, hours: float) -> None:
        """Move the time of day forwards or backwards."""
        self.time += timedelta(hours=hours)

    def elapsed(self) -> float:
        return self._gone_by

    def cloud_now(self) -> datetime:
        return self._born + timedelta(seconds=self._gone_by)

    @property
    def cloud(self) -> Clock:
        return Clock(self.cloud_now, self.sleep, self.elapsed)

    @property
    def fault_time(self) -> FaultTime:
        return FaultTime(self.sleep, self.elapsed, self.now, self.jump)
