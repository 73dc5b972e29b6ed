"""Who counts and times what goes on, if anybody does; told without passing it through all."""

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
"""Takes the status of the answer."""


class Observer(Protocol):
    """Counts and times. What it is given holds no name, no key and no text of anybody's."""

    def record_call(self, tool: str, seconds: float, error: str) -> None:
        """A tool was called; `error` is the kind of its failure, empty for none."""
        ...

    def record_request(
        self, method: str, route: str, retries: int
    ) -> AbstractContextManager[ReportStatus]:
        """Watch one request to the cloud, the `resent`-th repetition of it."""
        ...

    def record_remaining_requests(self, remaining: int) -> None:
        """So many requests the cloud takes in this minute yet."""
        ...


OBSERVER: ContextVar[Observer | None] = ContextVar("observer", default=None)
"""Set for a whole process, before it serves."""

RETRY_COUNT: ContextVar[int] = ContextVar("retry_count", default=0)
"""How often what is being done now was tried before."""

_LITERAL_SEGMENT = re.compile(r"[a-z]+(-[a-z]+)*")
_INPUT_REQUIRED = "InputRequired"
"""What a tool raises to ask a person is no failure."""

_NAME_PARENT = "name-availability"


@contextmanager
def observe_call(tool: str) -> Generator[None]:
    """Watch one call of a tool, and log that it was."""
    error, begin = "", time.perf_counter()
    try:
        yield
    except BaseException as failure:
        kind = error_kind(failure)
        error = "" if kind == _INPUT_REQUIRED else kind
        raise
    finally:
        seconds = time.perf_counter() - begin
        logger.info("%s: %s in %.3f s", tool, error or "ok", seconds)
        if (observer := OBSERVER.get()) is not None:
            observer.record_call(tool, seconds, error)


def observe_request(method: str, path: str) -> AbstractContextManager[ReportStatus]:
    """Watch one request to the cloud."""
    observer = OBSERVER.get()
    if observer is None:
        return nullcontext(_discard_status)
    return observer.record_request(method, route_template(path), RETRY_COUNT.get())


def route_template(path: str) -> str:
    """The path without what it is about: `/core/snapshots/{id}`."""
    parts, named = list[str](), False
    for part in path.split("/")[1:]:
        literal = _LITERAL_SEGMENT.fullmatch(part) is not None and not named
        parts.append(part if literal else "{id}" if part.isdecimal() and not named else "{name}")
        named = part == _NAME_PARENT
    return "/" + "/".join(parts)


def _discard_status(_status: int) -> None:
    """Nobody counts."""
