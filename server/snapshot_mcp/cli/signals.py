"""Signals during the start of a command, before any part of it handles them."""

import os
import signal
import sys
from types import FrameType

_CONTAINER_PROCESS_ID = 1


def end_on_signals() -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP end the process immediately, with no traceback.

    That is the default action for all but Ctrl-C, which Python turns into an exception. For the
    first process of a container, the kernel ignores signals with the default action.
    """
    handler = _exit if os.getpid() == _CONTAINER_PROCESS_ID else signal.SIG_DFL
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
    if sys.platform == "win32" or handler is not _exit:
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handler)


def raise_on_ctrl_c() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, unless the parent process ignores it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
