"""On whose behalf the current work goes on: told without passing it through every function.

Calls of different clients take turns, and who waits is told why. Both are needed far down, where
requests leave; what stands between has no use for them.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import NamedTuple

SendProgress = Callable[[float, float | None, str], Awaitable[None]]
"""Takes the seconds waited, the seconds to wait at most, and one line for a person."""

SendResourceUpdated = Callable[[str], Awaitable[None]]
"""Takes the address of a thing that is not as it was, for whoever asked to hear of it."""

_MIN_PROGRESS_STEP = 0.001


class ProgressReporter:
    """The progress of one call, whoever tells it; its numbers only grow, as the protocol asks.

    Args:
        report: sends one notification.
    """

    def __init__(self, send: SendProgress) -> None:
        self._report = send
        self._last = 0.0

    async def report(self, elapsed: float, total: float | None, message: str) -> None:
        """Tell that `waited` of `total` seconds are over."""
        self._last = max(elapsed, self._last)
        await self._report(self._last, total, message)
        self._last += _MIN_PROGRESS_STEP

    async def report_delay(self, message: str) -> None:
        """Tell why it takes longer."""
        await self.report(self._last, None, message)


async def _discard_resource_update(_address: str) -> None:
    """What nobody asked to hear of is not announced."""


REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Which HTTP request the work is for, as its answer names it too; empty beyond HTTP."""

LOCAL_PRINCIPAL = "local"
"""Whoever calls where nobody is asked who they are: a user of this machine."""


class Caller(NamedTuple):
    """Who called.

    Attributes:
        client: what tells one client from another.
        news: how to tell them something while they wait.
        announce: how to tell everybody that something changed.
        principal: who is answerable for it.
    """

    client_id: str
    progress: ProgressReporter
    notify_resource_updated: SendResourceUpdated = _discard_resource_update
    principal: str = LOCAL_PRINCIPAL


async def _discard_progress(_waited: float, _total: float | None, _line: str) -> None:
    """Work that no call asked for, as at the start, is not reported."""


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Set by the tool for the time of its call."""


def current_caller() -> Caller:
    """Who called; the server itself where nobody did."""
    return CALLER.get() or Caller("", ProgressReporter(_discard_progress))


def current_principal() -> str:
    """Return who is answerable for the current work."""
    return current_caller().principal
