"""Options that make the embedded cloud misbehave, to rehearse failures of the real one.

They are written as one text, such as `stale-reads=5,dropped-labels,error-500=0.1`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import quoted, sanitize

MAX_SECONDS = 3_600.0
MAX_COUNT = 1_000_000
_MAX_SHOWN_LENGTH = 60
_DEFAULT_WINDOW_SECONDS = 60.0


class RateLimit(NamedTuple):
    """A number of requests in a window of some seconds."""

    requests: int
    seconds: float


@dataclass(frozen=True)
class Misbehaviour:
    """The parsed options; without any, the embedded cloud behaves.

    A frequency below 1 is a probability. From 1 on, it is a number n and means every n-th time.

    Attributes:
        stale_reads: age in seconds of the state that every read shows.
        stale_lists: the same, but only for lists and name checks.
        short_lists: whether items of snapshot lists have only the base fields.
        small_pages: maximum number of rows of a page; 0 for the usual one.
        moving_pages: frequency of a row that disappears or appears before a later page.
        dropped_labels: whether labels of new snapshots and images are ignored.
        error_500: frequency of status 500 for reads.
        rate_limit: requests before a block with status 429, and the window in seconds.
        retry_after: whether 429 has a Retry-After header.
        slow_writes: seconds until a write is executed and answered.
        lost_replies: frequency of writes that are executed but get no reply.
        seed: seed of all random choices.
    """

    stale_reads: float = 0.0
    stale_lists: float = 0.0
    short_lists: bool = False
    small_pages: int = 0
    moving_pages: float = 0.0
    dropped_labels: bool = False
    error_500: float = 0.0
    rate_limit: RateLimit | None = None
    retry_after: bool = False
    slow_writes: float = 0.0
    lost_replies: float = 0.0
    seed: int = 0


class MisbehaviourOption(NamedTuple):
    """One option: its form for documentation, its meaning, and the parser of its value."""

    form: str
    meaning: str
    parse: Callable[[str], object]

    @property
    def name(self) -> str:
        """The name before the value."""
        return self.form.partition("=")[0]


def parse_misbehaviour(text: str) -> Misbehaviour:
    """Parse a comma-separated list of options; an empty text has none.

    Raises:
        ConfigurationError: an option is unknown or repeated, or its value is not valid.
    """
    values: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        option = next((option for option in OPTIONS if option.name == name), None)
        field = name.replace("-", "_")
        if option is None:
            raise ConfigurationError(f"There is no misbehaviour {_shown(name)}.", _valid_options())
        if field in values:
            raise ConfigurationError(f"The misbehaviour {name} is given twice.", _valid_options())
        try:
            values[field] = option.parse(value if separator else "")
        except ValueError as error:
            raise ConfigurationError(
                f"{_shown(part)} is not a valid misbehaviour: {error}.", _valid_options()
            ) from error
    if "retry_after" in values and "rate_limit" not in values:
        raise ConfigurationError("The misbehaviour retry-after needs rate-limit.", _valid_options())
    return Misbehaviour(**values)  # pyright: ignore[reportArgumentType] - parsed by field name


def _valid_options() -> str:
    return f"Use a comma-separated list of: {', '.join(option.form for option in OPTIONS)}."


def _shown(text: str) -> str:
    return quoted(sanitize(text, _MAX_SHOWN_LENGTH).text)


def _parse_flag(text: str) -> bool:
    if text:
        raise ValueError("it takes no value")
    return True


def _parse_seconds(text: str) -> float:
    seconds = _number(text)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"seconds must be above 0 and at most {MAX_SECONDS:g}")
    return seconds


def _parse_frequency(text: str) -> float:
    frequency = _number(text)
    if not 0 < frequency <= MAX_COUNT or (frequency > 1 and not frequency.is_integer()):
        raise ValueError("a frequency is a probability below 1, or a whole number n: every n-th")
    return frequency


def _parse_rate_limit(text: str) -> RateLimit:
    requests, separator, seconds = text.partition("/")
    window = _parse_seconds(seconds) if separator else _DEFAULT_WINDOW_SECONDS
    return RateLimit(_parse_count(requests), window)


def _parse_count(text: str) -> int:
    count = _number(text)
    if not 0 <= count <= MAX_COUNT or not count.is_integer():
        raise ValueError(f"a count must be a whole number up to {MAX_COUNT}")
    return int(count)


def _number(text: str) -> float:
    # float() also accepts "nan", "1_000" and digits of other scripts.
    if not text or not set(text) <= set("0123456789."):
        raise ValueError("it needs a number")
    try:
        return float(text)
    except ValueError as error:
        raise ValueError("it needs a number") from error


OPTIONS = (
    MisbehaviourOption(
        "stale-reads=SECONDS",
        "every read shows the state of some seconds ago: lists, objects, events and name checks",
        _parse_seconds,
    ),
    MisbehaviourOption(
        "stale-lists=SECONDS",
        "only lists and name checks show the state of some seconds ago",
        _parse_seconds,
    ),
    MisbehaviourOption(
        "short-lists",
        "items of snapshot lists have only the base fields of the vendor's OpenAPI document",
        _parse_flag,
    ),
    MisbehaviourOption(
        "small-pages=ROWS",
        "a page has at most this many rows, even if more are requested",
        _parse_count,
    ),
    MisbehaviourOption(
        "moving-pages=FREQUENCY",
        "before a page after the first, a row of an earlier page disappears, or a new one appears",
        _parse_frequency,
    ),
    MisbehaviourOption(
        "dropped-labels",
        "a new snapshot or image is stored and returned without its labels",
        _parse_flag,
    ),
    MisbehaviourOption(
        "error-500=FREQUENCY", "a read is answered with status 500", _parse_frequency
    ),
    MisbehaviourOption(
        "rate-limit=REQUESTS[/SECONDS]",
        "after this many requests, all others get status 429 until the window of 60 (or SECONDS)"
        " seconds is over",
        _parse_rate_limit,
    ),
    MisbehaviourOption("retry-after", "the answers of rate-limit say when to retry", _parse_flag),
    MisbehaviourOption(
        "slow-writes=SECONDS",
        "a write is executed and answered after some seconds, even if the client hangs up earlier",
        _parse_seconds,
    ),
    MisbehaviourOption(
        "lost-replies=FREQUENCY",
        "a write is executed, but the connection is closed without a reply",
        _parse_frequency,
    ),
    MisbehaviourOption("seed=NUMBER", "seed of all random choices (0)", _parse_count),
)
