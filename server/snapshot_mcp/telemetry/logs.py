"""What is logged: on stderr, as text or JSON, without a secret and without anybody else's text.

Names of snapshots, answers of the cloud and arguments of calls are written by others, and a library
may log any of them: of its records only the place and the words of the program are kept. structlog
is loaded by the first record, because most processes never log one.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import unquote, urlsplit

from snapshot_mcp.core.errors import ConfigurationError

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

_OWN = "snapshot_mcp"
_MAX_LINE_LENGTH = 2_000
_MIN_SECRET_LENGTH = 4
_LEFT_OUT = "(its text is left out: it may hold what others wrote)"


def configure_logging(environment: Mapping[str, str]) -> None:
    """Log to stderr from now on, as the environment says.

    Raises:
        ConfigError: the format or the level is none that there is.
    """
    how = _choice("SNAPSHOT_MCP_LOG_FORMAT", environment, FORMATS, "text")
    level = LEVELS[_choice("SNAPSHOT_MCP_LOG_LEVEL", environment, tuple(LEVELS), "warning")]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AtFirstRecord(cast("Format", how)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # What libraries tell below a warning is their own business.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger(_OWN).setLevel(level)


def _choice(
    name: str, environment: Mapping[str, str], choices: tuple[str, ...], default: str
) -> str:
    value = environment.get(name, "").strip().lower() or default
    if value.startswith("${"):  # a placeholder of a bundle, as in `read_settings`
        value = default
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of: {', '.join(choices)}.")
    return value


class _AtFirstRecord(logging.Formatter):
    def __init__(self, how: Format) -> None:
        super().__init__()
        self._how: Format = how
        self._formatter: ProcessorFormatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._formatter is None:
            self._formatter = _formatter(self._how)
        return self._formatter.format(_without_others_words(record))


def _formatter(how: Format) -> "ProcessorFormatter":
    import structlog  # noqa: PLC0415 - by the first record only

    secrets = tuple(_secrets(os.environ))

    def clean(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        return {name: _cleaned(value, secrets) for name, value in event.items()}

    last = (
        structlog.processors.JSONRenderer()
        if how == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _place_of_exception,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, clean, last],
    )


def _without_others_words(record: logging.LogRecord) -> logging.LogRecord:
    if record.name == _OWN or record.name.startswith(f"{_OWN}."):
        return record
    copy = logging.makeLogRecord(record.__dict__)
    # With arguments beside it, the message is the program's own; without, anything may be in it.
    words = record.msg if record.args and isinstance(record.msg, str) else _LEFT_OUT
    copy.msg, copy.args = f"{record.module}.{record.funcName}:{record.lineno} {words}", None
    return copy


def _place_of_exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Where it was raised and of what kind it is; its own text may hold anything."""
    info = event.pop("exc_info", None)
    error: object = cast("tuple[object, ...]", info)[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["raised"] = " < ".join(_places(error))
    return event


def _places(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{type(error).__name__} at {_last_place(error.__traceback__)}"
        error = error.__cause__


def _last_place(traceback: TracebackType | None) -> str:
    place = "?"
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return place


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    from snapshot_mcp.settings.reference import SETTINGS  # noqa: PLC0415 - by the first record only

    for setting in SETTINGS:
        for name in setting.names if setting.secret else ():
            value = environment.get(name, "").strip()
            password = _password(value)
            yield from (it for it in (value, password) if len(it) >= _MIN_SECRET_LENGTH)


def _password(address: str) -> str:
    try:
        return unquote(urlsplit(address).password or "")
    except ValueError:
        return ""


def _cleaned(value: object, secrets: tuple[str, ...]) -> object:
    from snapshot_mcp.core.sanitize import sanitize  # noqa: PLC0415 - by the first record only

    if not isinstance(value, str):
        return value if isinstance(value, int | float | None) else type(value).__name__
    for secret in secrets:
        value = value.replace(secret, "[secret]")
    return sanitize(value, _MAX_LINE_LENGTH).text
