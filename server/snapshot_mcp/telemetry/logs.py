"""Logging to stderr as text or JSON, without secrets and without untrusted text.

Snapshot names, responses of the cloud and arguments of calls are untrusted, and libraries may log
them. So a library's record keeps only its position in the code and its message template. structlog
is imported by the first record, because most processes never log one.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import unquote, urlsplit

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.raw_values import clean_value

if TYPE_CHECKING:
    from structlog.stdlib import ProcessorFormatter

Format = Literal["text", "json"]
FORMATS = ("text", "json")
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_OWN_LOGGER = "snapshot_mcp"
_MAX_LINE_LENGTH = 2_000
_MIN_SECRET_LENGTH = 4
_OMITTED_TEXT = "(text omitted: it may be untrusted)"


def configure_logging(environment: Mapping[str, str]) -> None:
    """Log to stderr, in the format and at the level that the environment sets.

    Raises:
        ConfigurationError: the format or the level is unknown.
    """
    log_format, level = read_log_settings(environment)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LazyFormatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Records of libraries below warning are never of interest.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger(_OWN_LOGGER).setLevel(level)


def read_log_settings(environment: Mapping[str, str]) -> tuple[Format, int]:
    """Return the format and the level that the environment sets.

    Raises:
        ConfigurationError: the format or the level is unknown.
    """
    log_format = _read_choice("SNAPSHOT_MCP_LOG_FORMAT", environment, FORMATS, "text")
    level = LEVELS[_read_choice("SNAPSHOT_MCP_LOG_LEVEL", environment, tuple(LEVELS), "warning")]
    return cast("Format", log_format), level


def _read_choice(
    name: str, environment: Mapping[str, str], choices: tuple[str, ...], default: str
) -> str:
    value = clean_value(environment.get(name, "")).lower() or default
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of: {', '.join(choices)}.")
    return value


class _LazyFormatter(logging.Formatter):
    def __init__(self, log_format: Format) -> None:
        super().__init__()
        self._log_format: Format = log_format
        self._formatter: ProcessorFormatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._formatter is None:
            self._formatter = _make_formatter(self._log_format)
        return self._formatter.format(_without_untrusted_text(record))


def _make_formatter(log_format: Format) -> "ProcessorFormatter":
    import structlog  # noqa: PLC0415 - only for the first record

    secrets = tuple(_secrets(os.environ))

    def redact_event(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        return {name: _redacted(value, secrets) for name, value in event.items()}

    renderer = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _replace_exception,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_event,
            renderer,
        ],
    )


def _without_untrusted_text(record: logging.LogRecord) -> logging.LogRecord:
    if record.name == _OWN_LOGGER or record.name.startswith(f"{_OWN_LOGGER}."):
        return record
    copy = logging.makeLogRecord(record.__dict__)
    # With arguments, the message is a constant template; without, it may contain anything.
    template = record.msg if record.args and isinstance(record.msg, str) else _OMITTED_TEXT
    copy.msg, copy.args = f"{record.module}.{record.funcName}:{record.lineno} {template}", None
    return copy


def _replace_exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace an exception by its type and position, because its text may be untrusted."""
    info = event.pop("exc_info", None)
    error: object = cast("tuple[object, ...]", info)[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["raised"] = " < ".join(_positions(error))
    return event


def _positions(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{type(error).__name__} at {_last_position(error.__traceback__)}"
        error = error.__cause__


def _last_position(traceback: TracebackType | None) -> str:
    position = "?"
    while traceback is not None:
        code = traceback.tb_frame.f_code
        position = f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return position


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    from snapshot_mcp.settings.reference import SETTINGS  # noqa: PLC0415 - only for the first record

    for setting in SETTINGS:
        for name in setting.names if setting.secret else ():
            value = clean_value(environment.get(name, ""))
            password = _password(value)
            yield from (text for text in (value, password) if len(text) >= _MIN_SECRET_LENGTH)


def _password(address: str) -> str:
    try:
        return unquote(urlsplit(address).password or "")
    except ValueError:
        return ""


def _redacted(value: object, secrets: tuple[str, ...]) -> object:
    from snapshot_mcp.core.sanitize import sanitize  # noqa: PLC0415 - only for the first record

    if not isinstance(value, str):
        return value if isinstance(value, int | float | None) else type(value).__name__
    for secret in secrets:
        value = value.replace(secret, "[secret]")
    return sanitize(value, _MAX_LINE_LENGTH).text
