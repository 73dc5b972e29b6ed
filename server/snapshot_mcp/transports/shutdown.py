"""Shutdown: let calls in flight finish, then end the process within ten seconds.

A write that is cut off is in the ledger as sent. The next start settles it.
"""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from signal import Signals
from threading import Timer
from types import FrameType

DRAIN_TIMEOUT_SECONDS = 5
"""Seconds that calls in flight may continue after a signal before they are cancelled."""

SHUTDOWN_TIMEOUT_SECONDS = 9.0
"""Seconds after a signal until the process is forced to exit."""


SignalHandler = Callable[[int, FrameType | None], None]


def stop_signals() -> list[Signals]:
    """Return the signals that ask this process to end, except those that its parent ignores.

    Windows delivers none of them: it ends a process immediately.
    """
    if sys.platform == "win32":
        return []
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    return [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def handle_signals(handler: SignalHandler) -> Generator[None]:
    """Handle the signals of `stop_signals` in this block; the previous handlers return after it."""
    previous = {number: signal.signal(number, handler) for number in stop_signals()}
    try:
        yield
    finally:
        for number, previous_handler in previous.items():
            signal.signal(number, previous_handler)


def end_by_signal(number: int) -> None:
    """End this process by the signal that it received, so that its parent sees the reason."""
    signal.raise_signal(number)
    # The kernel ignores it if this is the first process of a container.
    os._exit(signal_exit_code(number))


def signal_exit_code(number: int) -> int:
    """Return the exit code with which shells report a process that a signal ended."""
    return 128 + number


def force_exit_after_timeout(exit_code: int) -> Timer:
    """Exit after `SHUTDOWN_TIMEOUT_SECONDS`, from a thread that nothing can block.

    Returns:
        The timer, which `cancel` stops.
    """
    timer = Timer(SHUTDOWN_TIMEOUT_SECONDS, os._exit, args=[exit_code])
    timer.daemon = True
    timer.start()
    return timer
