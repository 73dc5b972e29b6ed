"""Past states of the embedded cloud, for reads that are behind."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from threading import Lock

from snapshot_mcp.sandbox import store
from snapshot_mcp.sandbox.store import StoreSession

OpenSession = Callable[[], AbstractContextManager[StoreSession]]


class StateHistory:
    """Copies of the database in memory, each with the time at which it was taken.

    Changes by other processes count from the moment at which this process notices them.

    Args:
        seconds: age of the oldest state that is needed.
    """

    def __init__(self, seconds: float) -> None:
        self._age = timedelta(seconds=seconds)
        self._states: list[tuple[datetime, bytes]] = []
        self._lock = Lock()

    def record(self, open_session: OpenSession, now: datetime) -> None:
        """Copy the current state if it has changed, and forget those that are too old."""
        with self._lock, open_session() as session:
            state = session.serialize()
            if not self._states or self._states[-1][1] != state:
                self._states.append((now, state))
            while len(self._states) > 1 and self._states[1][0] <= now - self._age:
                del self._states[0]

    def session_at(self, time: datetime) -> AbstractContextManager[StoreSession]:
        """Open the state at this time, or the oldest one that is known."""
        with self._lock:
            past = [state for taken, state in self._states if taken <= time]
            return store.open_copy(past[-1] if past else self._states[0][1])
