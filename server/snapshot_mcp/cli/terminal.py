"""The person at the terminal: the progress they see and the questions they answer."""

import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Thread

import anyio
from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from snapshot_mcp.cli.interrupts import POLL_INTERVAL_SECONDS, Interrupts


class Terminal:
    """Shows progress and questions on stderr, so that stdout contains only the result.

    Args:
        interrupts: presses of Ctrl-C; one that comes while a question is open declines it.

    Attributes:
        confirmed: False if the last question was declined or left unanswered.
        is_asking: whether a question is open.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._task = self._bar.add_task("waiting", total=None, start=False)
        self.confirmed = True
        self.is_asking = False

    @property
    def has_person(self) -> bool:
        """Whether a person can be asked here."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Print lines that are not part of the result."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    @contextmanager
    def progress_bar(self) -> Generator[None]:
        """Show a progress bar from the first notification until the end of the block."""
        try:
            yield
        finally:
            self._bar.stop()

    async def show_progress(
        self, progress: float, total: float | None, message: str | None
    ) -> None:
        """Show a progress notification of the server."""
        self._bar.start()
        self._bar.start_task(self._task)
        description = escape(message or "waiting")
        self._bar.update(self._task, completed=progress, total=total, description=description)

    async def answer(
        self, context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult:
        """Ask the person; without an answer, decline."""
        del context
        self._bar.stop()
        if not isinstance(params, ElicitRequestFormParams):
            return ElicitResult(action="cancel")  # there is no browser to open
        words = await self._ask(params.message)
        self.confirmed = bool(words)
        if not words:
            return ElicitResult(action="decline")
        (field,) = params.requested_schema["properties"]
        return ElicitResult(action="accept", content={field: words})

    async def _ask(self, question: str) -> str:
        self.is_asking = True
        try:
            self.say(question)
            words = await self._read_line()
            # Ctrl-C declines even after Enter, as long as the question is open.
            return "" if self._interrupts.pending else words
        finally:
            self._interrupts.clear()
            self.is_asking = False

    async def _read_line(self) -> str:
        """Read a line from the person; it is empty at the end of input and after Ctrl-C.

        The thread is a daemon, because after Ctrl-C it still waits for a line and must not keep the
        process alive.
        """
        lines: list[str] = []
        reader = Thread(target=_read_stdin_line, args=(lines,), daemon=True)
        print("> ", end="", file=sys.stderr, flush=True)
        reader.start()
        try:
            # An Event would not do: a thread and a signal handler end this wait.
            while reader.is_alive() and not self._interrupts.pending:  # noqa: ASYNC110 - see above
                await anyio.sleep(POLL_INTERVAL_SECONDS)
        finally:
            if not lines:
                print(file=sys.stderr)  # end the line of the prompt
        return lines[0].strip() if lines else ""


def _read_stdin_line(lines: list[str]) -> None:
    # `sys.stdin` has a lock, which this thread would hold when the interpreter exits and closes it.
    with (
        suppress(OSError),  # the terminal is gone
        open(
            sys.stdin.fileno(), encoding=sys.stdin.encoding, errors="replace", closefd=False
        ) as stdin,
    ):
        if line := stdin.readline():
            lines.append(line)
