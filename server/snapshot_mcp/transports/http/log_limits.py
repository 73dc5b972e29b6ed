"""Limits on log lines: clients without a token must not be able to fill the log."""

import logging
from collections.abc import Hashable
from typing import NamedTuple

LOG_INTERVAL_SECONDS = 60
_OWN_LOGGERS = "snapshot_mcp."
_LIMITED_LOGGERS = "snapshot_mcp.transports.http."


class _Repetition(NamedTuple):
    number: int
    last: logging.LogRecord | None


class RepetitionFilter(logging.Filter):
    """Logging filter that passes the first record of each kind in an interval, and counts others.

    Records of one kind come from the same line of code, of a library or of the HTTP transport, with
    the same template and the same type of exception. All other records pass.

    Args:
        handler: the handler that writes the counts.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._repetitions: dict[Hashable, _Repetition] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        if not _is_limited(record) or hasattr(record, "repeated"):
            return True
        kind = _kind(record)
        repetition = self._repetitions.get(kind)
        if repetition is None:
            self._repetitions[kind] = _Repetition(0, None)
            return True
        self._repetitions[kind] = _Repetition(repetition.number + 1, record)
        return False

    def flush(self) -> None:
        """End the interval: write the last record of each kind with the number of repetitions."""
        repetitions, self._repetitions = self._repetitions, {}
        for number, record in repetitions.values():
            if record is not None:
                record.repeated = number
                self._handler.handle(record)


def _is_limited(record: logging.LogRecord) -> bool:
    return record.name.startswith(_LIMITED_LOGGERS) or not record.name.startswith(_OWN_LOGGERS)


def _kind(record: logging.LogRecord) -> Hashable:
    # Without arguments, the message may contain text of a client, so each one could differ.
    template = record.msg if record.args else ""
    exception = record.exc_info[0] if record.exc_info else None
    return record.pathname, record.lineno, template, exception
