"""How long tests wait, and how they wait for a condition."""

from collections.abc import Callable
from time import monotonic, sleep

START_TIMEOUT_SECONDS = 120.0
"""The time for a process to start, even when other processes keep every processor busy."""

ANSWER_TIMEOUT_SECONDS = 60.0
"""The time for an answer of a process that has started, and for its end."""


def until(condition: Callable[[], bool], what: str, within: float = ANSWER_TIMEOUT_SECONDS) -> None:
    """Wait for a condition; fail when the time is over."""
    deadline = monotonic() + within
    while not condition():
        assert monotonic() < deadline, f"{what} took more than {within} s"
        sleep(0.005)
