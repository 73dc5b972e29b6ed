"""The caller of the current work, reached through a context variable instead of arguments.

Requests to the cloud use it to share the slots fairly between clients and to report delays. The
layers between a tool and its requests do not use it.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import NamedTuple

SendProgress = Callable[[float, float | None, str], Awaitable[None]]
"""Takes the seconds waited, the maximum number of seconds, and one line for a person."""

SendResourceUpdated = Callable[[str], Awaitable[None]]
"""Takes the URI of a resource that changed, and notifies its subscribers."""

_MIN_PROGRESS_STEP = 0.001


class ProgressReporter:
    """Reports the progress of one call. Its values only increase, as the MCP protocol requires.

    Args:
        send: sends one notification.
    """

    def __init__(self, send: SendProgress) -> None:
        self._send = send
        self._last = 0.0

    async def report(self, elapsed: float, total: float | None, message: str) -> None:
        """Report that `elapsed` of `total` seconds have passed."""
        self._last = max(elapsed, self._last)
        await self._send(self._last, total, message)
        self._last += _MIN_PROGRESS_STEP

    async def report_delay(self, message: str) -> None:
        """Report why the call takes longer."""
        await self.report(self._last, None, message)


async def _discard_resource_update(_uri: str) -> None:
    """Ignore the update: there are no subscribers."""


REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the HTTP request, which its response also contains; empty over stdio."""

LOCAL_PRINCIPAL = "local"
"""Principal of calls without authentication: a user of this machine."""


class Caller(NamedTuple):
    """The client and the principal of the current work.

    Attributes:
        client_id: distinguishes clients.
        progress: reports progress to the client.
        notify_resource_updated: notifies the subscribers of a resource.
        principal: the identity that is accountable for the work.
        is_changing: whether the work holds the change lock, so that other changes wait for it.
    """

    client_id: str
    progress: ProgressReporter
    notify_resource_updated: SendResourceUpdated = _discard_resource_update
    principal: str = LOCAL_PRINCIPAL
    is_changing: bool = False


async def _discard_progress(_elapsed: float, _total: float | None, _message: str) -> None:
    """Ignore the progress of work without a client, such as recovery at the start."""


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Set by a tool for the duration of its call."""


def current_caller() -> Caller:
    """Return the caller; outside a call, the server itself."""
    return CALLER.get() or Caller("", ProgressReporter(_discard_progress))


def current_principal() -> str:
    """Return the principal of the current work."""
    return current_caller().principal
