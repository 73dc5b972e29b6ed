"""Circuit breaker: while the cloud is down, fail fast instead of sending requests.

A pure state machine: the time is an argument. After several failures in a row the circuit opens and
nothing is sent for a while. Then one request probes the cloud; its result closes the circuit or
keeps it open for longer.
"""

from datetime import datetime
from typing import NamedTuple

FAILURE_THRESHOLD = 5
MIN_OPEN_SECONDS = 5.0
MAX_OPEN_SECONDS = 60.0


class Outage(NamedTuple):
    """A period in which the cloud does not answer.

    Attributes:
        since: time of the first failure of the current series.
        retry_in_seconds: seconds until the next request is allowed.
    """

    since: datetime
    retry_in_seconds: float


class CircuitBreaker:
    """Decides whether requests may be sent. All calls of the process share one.

    Arguments named `now` are seconds of a clock that never goes back.
    """

    def __init__(self) -> None:
        self.record_success()

    def record_success(self) -> None:
        """Record an answer of the cloud, even if it is a refusal."""
        self._failures = 0
        self._since: datetime | None = None
        self._open_seconds = MIN_OPEN_SECONDS
        self._probe_at: float | None = None
        self._probing = False

    def current_outage(self, now: float) -> Outage | None:
        """Return the outage that blocks requests at `now`, or None."""
        if self._since is None or self._probe_at is None:
            return None
        remaining = self._probe_at - now
        if remaining <= 0 and not self._probing:
            return None
        return Outage(self._since, max(remaining, 0.0))

    def admit(self, now: float) -> Outage | None:
        """Return the outage that blocks a request; None admits it, after an outage as the probe."""
        outage = self.current_outage(now)
        if outage is None and self._probe_at is not None:
            self._probing = True
        return outage

    def record_failure(self, now: float, time_of_day: datetime) -> None:
        """Record that the cloud did not answer, or reported that it is unavailable."""
        self._failures += 1
        self._since = self._since or time_of_day
        if self._probing:
            self._open_seconds = min(self._open_seconds * 2, MAX_OPEN_SECONDS)
        if self._probing or self._failures == FAILURE_THRESHOLD:
            self._probe_at = now + self._open_seconds
        self._probing = False

    def record_server_error(self, now: float, time_of_day: datetime) -> None:
        """Record a 5xx answer. It counts only as the result of a probe: a single one is common.

        Source: the vendor's recorded replies: reads fail "intermittently".
        """
        if self._probing:
            self.record_failure(now, time_of_day)

    def record_cancellation(self) -> None:
        """Record that a request ended without a result, so another one may probe."""
        self._probing = False

    @property
    def failing_since(self) -> datetime | None:
        """Time of the first failure of the current series; None while the cloud answers."""
        return self._since
