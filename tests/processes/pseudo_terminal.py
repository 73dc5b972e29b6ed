"""A command at a pseudo-terminal of its own, where Ctrl-C is a key. POSIX only."""

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

# Ctrl-C reaches only the processes of the terminal's session, so the terminal must control one.
_TAKE_TERMINAL = f"""
import fcntl, os, sys
fcntl.ioctl(0, {termios.TIOCSCTTY}, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class PseudoTerminal:
    """What the process shows, and the keyboard.

    Attributes:
        shown: everything that the process has shown so far.
    """

    def __init__(self, process: subprocess.Popen[bytes], controller: int) -> None:
        self.process = process
        self.shown = ""
        self._controller = controller
        self._is_open = True

    def type(self, text: str) -> None:
        """Press keys; nothing happens when the process is gone."""
        with suppress(OSError):
            os.write(self._controller, text.encode())

    def read_until(self, text: str, within: float = START_TIMEOUT_SECONDS) -> float:
        """Read until the process has shown `text`; when that was."""
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
        """Read until the process ends; its exit code."""
        deadline = monotonic() + within
        while self._read(deadline):
            pass
        assert not self._is_open, f"it did not end within {within} s: {self.shown}"
        return self.process.wait(within)

    def _read(self, deadline: float) -> bool:
        """Read a piece; False when there was none until the deadline, or the process is gone."""
        left = max(0.0, deadline - monotonic())
        if not self._is_open or not select.select([self._controller], [], [], left)[0]:
            return False
        piece = b""
        with suppress(OSError):  # so Linux tells the end
            piece = os.read(self._controller, 4_096)
        self.shown += piece.decode(errors="replace")
        self._is_open = bool(piece)
        return self._is_open


@contextmanager
def at_terminal(
    folder: Path, *words: str, command: Sequence[str] = MODULE
) -> Generator[PseudoTerminal]:
    """Run a command at a terminal; it is killed in the end, should it still run."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *command, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment(folder, TERM="xterm", COLUMNS="100"),
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            yield PseudoTerminal(process, controller)
        finally:
            process.kill()
            os.close(controller)
