"""The standard streams of a command: closed ones, closed pipes, full disks, narrow encodings.

Diagnostics that cannot be written are dropped. If the result on stdout cannot be written, the
command ends.
"""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_CLOSED_PIPE_ERRORS = {errno.EPIPE, errno.ECONNRESET}
if sys.platform == "win32":
    _CLOSED_PIPE_ERRORS.add(errno.EINVAL)


class OutputError(Exception):
    """stdout cannot be written; the rest of the output is dropped."""


class StandardStreams:
    """The state of the standard streams.

    Attributes:
        closed: names of those that were closed when the process started.
        output_error: the system's error when stdout could not be written.
    """

    def __init__(self, closed: frozenset[str]) -> None:
        self.closed = closed
        self.output_error: OSError | None = None

    @property
    def is_pipe_closed(self) -> bool:
        """Whether stdout is a pipe that its reader closed."""
        return self.output_error is not None and self.output_error.errno in _CLOSED_PIPE_ERRORS


class _Diagnostics(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data: "Buffer", /) -> int:
        """Write some of the data, or nothing if that is not possible."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


class _Output(io.FileIO):
    """A file that reports once that it cannot be written, and then drops the rest."""

    def __init__(self, descriptor: int, streams: StandardStreams) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._streams = streams

    def write(self, data: "Buffer", /) -> int:
        """Write some of the data.

        Raises:
            OutputError: that is not possible. `BrokenPipeError` would make Rich end the process.
        """
        if self._streams.output_error is not None:
            return len(memoryview(data))
        try:
            return super().write(data)
        except OSError as error:
            self._streams.output_error = error
            raise OutputError from error


@contextmanager
def standard_streams() -> Generator[StandardStreams]:
    """Make stdin, stdout and stderr usable in this block, even if they are closed."""
    previous = sys.stdin, sys.stdout, sys.stderr
    with ExitStack() as stack:
        streams = StandardStreams(_open_closed_streams(stack))
        stdout, stderr = _find_file(sys.stdout), _find_file(sys.stderr)
        if stdout and "stdout" not in streams.closed:
            sys.stdout = _wrap(_Output(stdout.fileno(), streams), stdout)
        if stderr and "stderr" not in streams.closed:
            sys.stderr = _wrap(_Diagnostics(stderr.fileno(), "wb", closefd=False), stderr)
        try:
            yield streams
        finally:
            sys.stdin, sys.stdout, sys.stderr = previous


def _open_closed_streams(stack: ExitStack) -> frozenset[str]:
    """Open the null device in place of closed streams, and return their names.

    Otherwise the next file that is opened, such as a database, would become stdout.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        mode = "r" if name == "stdin" else "w"
        file = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - the stack closes it
        setattr(sys, name, stack.enter_context(file))
    return frozenset(closed)


def _find_file(stream: object) -> io.TextIOWrapper | None:
    """Return the stream if it is a pipe or a file; None for terminals and replaced streams."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    # A character that the encoding lacks, as in a console of Windows, is no reason to fail.
    stream.reconfigure(errors="backslashreplace")
    try:
        is_file = stream.fileno() >= 0 and not stream.isatty()
    except (OSError, ValueError):
        return None
    return cast("io.TextIOWrapper", stream) if is_file else None


def _wrap(file: io.FileIO, stream: io.TextIOWrapper) -> TextIO:
    """Return a text stream over the file that encodes and buffers as another one does."""
    return io.TextIOWrapper(
        file if stream.write_through else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
