"""The circuit: a cloud that is down is not asked again and again, and everybody is told at once.

Pure: the time comes in as an argument. After a few failures in a row the circuit is open, and
nothing is sent for a while; then one request may try, and what comes of it decides.
"""

from datetime import datetime
from typing import NamedTuple

FAILURE_THRESHOLD = 5
MIN_OPEN_SECONDS = 5.0
MAX_OPEN_SECONDS = 60.0


class Outage(NamedTuple):
    """A cloud that did not answer.

    Attributes:
        since: time of the first failure in the row.
        seconds: until it is asked again.
    """

    since: datetime
    retry_in_seconds: float


class CircuitBreaker:
    """Whether the cloud is asked at all; one for all calls of the process."""

    def __init__(self) -> None:
        self.record_success()

    def record_success(self) -> None:
        """The cloud answered, whatever it said."""
        self._failures = 0
        self._since: datetime | None = None
        self._open_seconds = MIN_OPEN_SECONDS
        self._probe_at: float | None = None
        self._probing = False

    def current_outage(self, now: float) -> Outage | None:
        """What keeps a request back at `elapsed` (seconds that never go back); None if nothing."""
        if self._since is None or self._probe_at is None:
            return None
        left = self._probe_at - now
        if left <= 0 and not self._probing:
            return None
        return Outage(self._since, max(left, 0.0))

    def admit(self, elapsed: float) -> Outage | None:
        """Like `outage`; where it answers None after a rest, this request is the one that tries."""
        outage = self.current_outage(elapsed)
        if outage is None and self._probe_at is not None:
            self._probing = True
        return outage

    def record_failure(self, elapsed: float, now: datetime) -> None:
        """The cloud did not answer, or said that it cannot."""
        self._failures += 1
        self._since = self._since or now
        if self._probing:
            self._open_seconds = min(self._open_seconds * 2, MAX_OPEN_SECONDS)
        if self._probing or self._failures == FAILURE_THRESHOLD:
            self._probe_at = elapsed + self._open_seconds
        self._probing = False

    def record_cancellation(self) -> None:
        """A request ended before anything was learned from it; another one may try."""
        self._probing = False

    @property
    def failing_since(self) -> datetime | None:
        """Time of the first failure in the row; None while the cloud answers."""
        return self._since
