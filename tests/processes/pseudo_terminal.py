"""A command at its own pseudo-terminal, where tests can press Ctrl-C. POSIX only."""

import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from tests.processes.helpers import MODULE, environment
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS

CTRL_C = "\x03"
CTRL_D = "\x04"

# Ctrl-C reaches only the terminal's session, so the process takes the terminal as its own.
_TAKE_TERMINAL = f"""
import fcntl, os, sys
fcntl.ioctl(0, {termios.TIOCSCTTY}, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class PseudoTerminal:
    """The keyboard and the screen of a process.

    Attributes:
        shown: the complete output of the process so far.
    """

    def __init__(self, process: subprocess.Popen[bytes], controller: int) -> None:
        self.process = process
        self.shown = ""
        self._controller = controller
        self._is_open = True

    def type(self, text: str) -> None:
        """Press keys; do nothing if the process has ended."""
        with suppress(OSError):
            os.write(self._controller, text.encode())

    def read_until(self, text: str, within: float = START_TIMEOUT_SECONDS) -> float:
        """Read until the process has shown `text`, and return the time at that moment."""
        deadline = monotonic() + within
        while text not in self.shown:
            assert self._read(deadline), f"{text!r} was not shown: {self.shown}"
        return monotonic()

    def read_for(self, seconds: float) -> None:
        """Read for some time."""
        deadline = monotonic() + seconds
        while self._read(deadline):
            pass

    def end(self, within: float = ANSWER_TIMEOUT_SECONDS) -> int:
        """Read until the process ends, and return its exit code."""
        deadline = monotonic() + within
        while self._read(deadline):
            pass
        assert not self._is_open, f"it did not end within {within} s: {self.shown}"
        return self.process.wait(within)

    def _read(self, deadline: float) -> bool:
        """Read some output; return False at the deadline, or when the process has ended."""
        left = max(0.0, deadline - monotonic())
        if not self._is_open or not select.select([self._controller], [], [], left)[0]:
            return False
        chunk = b""
        with suppress(OSError):  # Linux reports the end of the process as an error
            chunk = os.read(self._controller, 4_096)
        self.shown += chunk.decode(errors="replace")
        self._is_open = bool(chunk)
        return self._is_open


@contextmanager
def at_terminal(
    folder: Path, *words: str, command: Sequence[str] = MODULE, **settings: str
) -> Generator[PseudoTerminal]:
    """Run a command at a terminal, and kill it at the end if it still runs."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *command, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment(folder, TERM="xterm", COLUMNS="100", **settings),
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            yield PseudoTerminal(process, controller)
        finally:
            process.kill()
            os.close(controller)
