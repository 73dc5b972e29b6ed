"""Waits of the tests, and their limits.

Every wait has a limit, so that a test fails where it would hang. The limits are for a busy machine:
a test that passes never waits that long. pytest-timeout, with a longer limit for each whole test,
ends what has no limit of its own, such as an await within this process.
"""

import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import IO, Any, AnyStr

START_TIMEOUT_SECONDS = 120.0
"""The time for a process to start, even when other processes keep every processor busy."""

ANSWER_TIMEOUT_SECONDS = 60.0
"""The time for an answer or an event of a started process, and for its end."""


def until(condition: Callable[[], bool], what: str, within: float = ANSWER_TIMEOUT_SECONDS) -> None:
    """Wait for a condition; fail at the time limit."""
    deadline = monotonic() + within
    while not condition():
        assert monotonic() < deadline, f"{what} took more than {within} s"
        sleep(0.005)


def read_line(stream: IO[AnyStr] | None, within: float = START_TIMEOUT_SECONDS) -> AnyStr:
    """Read a line from the pipe of a process; fail at the time limit."""
    assert stream is not None
    lines: list[AnyStr] = []
    # Windows can neither poll a pipe nor interrupt the reading, so a thread reads.
    reader = Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(within)
    assert lines, f"no line came within {within} s"
    return lines[0]


@contextmanager
def start_process(command: list[str], **options: Any) -> Generator[subprocess.Popen[str]]:  # noqa: ANN401 - those of Popen
    """Start a process whose pipes are text; kill it at the end if it still runs."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def terminate_process(process: subprocess.Popen[Any]) -> None:
    """Terminate a process; kill it and fail if it does not end in time."""
    process.terminate()
    try:
        process.wait(ANSWER_TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait(ANSWER_TIMEOUT_SECONDS)
