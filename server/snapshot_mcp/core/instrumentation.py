"""Hooks for metrics and traces, reached through context variables instead of arguments."""

import logging
import re
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from snapshot_mcp.core.errors import error_kind

logger = logging.getLogger(__name__)

ReportStatus = Callable[[int], None]
"""Takes the HTTP status of an answer."""


class Observer(Protocol):
    """Records counts and durations. Its arguments never contain names, keys or user text."""

    def record_call(self, tool: str, seconds: float, error: str) -> None:
        """Record one call of a tool; `error` is the kind of its failure, or empty."""
        ...

    def record_request(
        self, method: str, route: str, retries: int
    ) -> AbstractContextManager[ReportStatus]:
        """Record one request to the cloud; `retries` is the number of earlier attempts."""
        ...

    def record_remaining_requests(self, remaining: int) -> None:
        """Record how many requests the cloud still accepts in the current minute."""
        ...


OBSERVER: ContextVar[Observer | None] = ContextVar("observer", default=None)
"""Set once for the whole process, before it serves."""

RETRY_COUNT: ContextVar[int] = ContextVar("retry_count", default=0)
"""Number of earlier attempts of the current operation."""

_LITERAL_SEGMENT = re.compile(r"[a-z]+(-[a-z]+)*")
_INPUT_REQUIRED = "InputRequired"
"""Name of the exception that a tool raises to ask a person, which is not a failure."""

_SEGMENT_BEFORE_NAME = "name-availability"


@contextmanager
def observe_call(tool: str) -> Generator[None]:
    """Time one call of a tool, log it, and report it to the observer."""
    error, start = "", time.perf_counter()
    try:
        yield
    except BaseException as failure:
        kind = error_kind(failure)
        error = "" if kind == _INPUT_REQUIRED else kind
        raise
    finally:
        seconds = time.perf_counter() - start
        logger.info("%s: %s in %.3f s", tool, error or "ok", seconds)
        if (observer := OBSERVER.get()) is not None:
            observer.record_call(tool, seconds, error)


def observe_request(method: str, path: str) -> AbstractContextManager[ReportStatus]:
    """Report one request to the observer, if there is one."""
    observer = OBSERVER.get()
    if observer is None:
        return nullcontext(_discard_status)
    return observer.record_request(method, route_template(path), RETRY_COUNT.get())


def route_template(path: str) -> str:
    """Return the path without ids and names, such as `/core/snapshots/{id}`."""
    segments, is_name = list[str](), False
    for segment in path.split("/")[1:]:
        if is_name:
            segments.append("{name}")
        elif _LITERAL_SEGMENT.fullmatch(segment):
            segments.append(segment)
        else:
            segments.append("{id}" if segment.isdecimal() else "{name}")
        is_name = segment == _SEGMENT_BEFORE_NAME
    return "/" + "/".join(segments)


def _discard_status(_status: int) -> None:
    """Ignore the status: there is no observer."""
