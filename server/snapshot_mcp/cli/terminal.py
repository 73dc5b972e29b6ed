"""The person at the terminal: what they see while they wait, and what they are asked."""

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_NOBODY = "There is no terminal to ask a person at, so nobody agreed."


class Terminal:
    """Shows progress and asks on stderr, so that stdout holds the answer alone.

    Attributes:
        agreed: whether the last question, if there was one, was answered with words.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._task = self._bar.add_task("waiting", total=None, start=False)
        self.agreed = True

    @property
    def has_person(self) -> bool:
        """Whether somebody can be asked here."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show lines that are no part of the answer."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """A bar, as soon as there is something to tell."""
        try:
            yield
        finally:
            self._bar.stop()

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """One notification of the server."""
        self._bar.start()
        self._bar.start_task(self._task)
        told = escape(message or "waiting")
        self._bar.update(self._task, completed=progress, total=total, description=told)

    async def answer(
        self, context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult:
        """Ask the person; without one, nobody agrees."""
        del context
        self._bar.stop()
        form = params if isinstance(params, ElicitRequestFormParams) else None
        words = self._asked(form.message) if form else ""
        self.agreed = bool(words)
        if form is None or not words:
            return ElicitResult(action="decline")
        (field,) = form.requested_schema["properties"]
        return ElicitResult(action="accept", content={field: words})

    def _asked(self, question: str) -> str:
        if not self.has_person:
            self.say(_NOBODY)
            return ""
        self.say(question)
        return _line()


def _line() -> str:
    """What the person types; nothing where they press Ctrl-C, which works at once."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print("> ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        return ""
    finally:
        signal.signal(signal.SIGINT, handler)
