"""Ctrl-C or SIGTERM during a call: recorded by a signal handler, acted on by the event loop."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import anyio

POLL_INTERVAL_SECONDS = 0.05
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Presses of Ctrl-C that nothing has acted on yet; SIGTERM counts as one.

    asyncio would cancel the main task once, and code that happens to suppress that cancellation
    would lose the press. Here a press stays pending until it is acted on.
    """

    def __init__(self) -> None:
        self._count = 0

    @property
    def pending(self) -> bool:
        """Whether a press is waiting to be acted on."""
        return self._count > 0

    def clear(self) -> None:
        """Forget the presses that were acted on."""
        self._count = 0

    @contextmanager
    def recorded(self) -> Generator[None]:
        """Record presses in this block, and raise KeyboardInterrupt at a second pending one."""
        previous = {number: signal.signal(number, self._record) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def cancel_when_pending(
        self, scope: anyio.CancelScope, is_handled: Callable[[], bool]
    ) -> None:
        """Cancel the scope once a press is pending that the question does not handle.

        Polling works on every platform, and whichever thread the signal arrives in: Python runs
        the handler when the main thread wakes up.

        Args:
            scope: the scope to cancel.
            is_handled: whether a question is open, which handles the presses itself.
        """
        while is_handled() or not self.pending:  # noqa: ASYNC110 - an Event is not signal-safe
            await anyio.sleep(POLL_INTERVAL_SECONDS)
        scope.cancel()

    def _record(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            raise KeyboardInterrupt
