"""What a retention policy says, and how a span of time is written in one."""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field

from snapshot_mcp.models.cloud import MAX_LABELS, FrozenModel, Label

KEEP_ALL = -1
"""A count that is never used up."""
MAX_COUNT = 100_000
MAX_SPAN_NUMBER = 99_999

CountRule = Literal["last", "hourly", "daily", "weekly", "monthly", "yearly"]
GroupBy = Literal["vm", "label", "region"]
Count = Annotated[int, Field(ge=KEEP_ALL, le=MAX_COUNT)]
_Number = Annotated[int, Field(ge=0, le=MAX_SPAN_NUMBER)]

_SPAN = re.compile(
    "(?:(?P<years>[0-9]{1,5})y)?(?:(?P<months>[0-9]{1,5})m)?"
    "(?:(?P<days>[0-9]{1,5})d)?(?:(?P<hours>[0-9]{1,5})h)?"
)


class _PolicyModel(FrozenModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CalendarSpan(_PolicyModel):
    """A span of the calendar; its days, months and years are as long as the calendar makes them."""

    years: _Number = 0
    months: _Number = 0
    days: _Number = 0
    hours: _Number = 0

    @property
    def is_zero(self) -> bool:
        """Whether it has no length."""
        return not (self.years or self.months or self.days or self.hours)

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number)


def parse_span(text: str) -> CalendarSpan:
    """The span that `text` writes, such as "2y5m7d3h".

    Raises:
        ValueError: it is anything else, or a span without length.
    """
    written = _SPAN.fullmatch(text)
    numbers = written.groupdict(default="0") if written else {}
    within = CalendarSpan(**{unit: int(number) for unit, number in numbers.items()})
    if within.is_zero:
        raise ValueError(
            "must be whole years, months, days and hours in this order, such as 2y5m7d3h or 30d,"
            f" each at most {MAX_SPAN_NUMBER} and not all of them 0"
        )
    return within


class RetentionPolicy(_PolicyModel):
    """What to keep; a snapshot is kept by any one of these.

    A count of 0 is not used, and of -1 keeps all. Of each period only the newest snapshot is kept,
    and a period without a snapshot is not counted.

    Attributes:
        keep_last: the newest so many.
        keep_hourly: one of each of the newest so many hours.
        keep_daily: the same for days.
        keep_weekly: the same for ISO weeks.
        keep_monthly: the same for months.
        keep_yearly: the same for years.
        keep_within: all that are younger than this when the group's newest was taken.
        keep_labels: those with one of these labels, in any case.
        group_by: what is counted on its own.
        time_zone: where hours, days, weeks, months and years begin.
    """

    keep_last: Count = 0
    keep_hourly: Count = 0
    keep_daily: Count = 0
    keep_weekly: Count = 0
    keep_monthly: Count = 0
    keep_yearly: Count = 0
    keep_within: CalendarSpan | None = None
    keep_labels: Annotated[tuple[Label, ...], Field(max_length=MAX_LABELS)] = ()
    group_by: GroupBy = "vm"
    time_zone: ZoneInfo

    @property
    def counts(self) -> tuple[tuple[CountRule, int], ...]:
        """The rules that count, in the order in which they are told."""
        return (
            ("last", self.keep_last),
            ("hourly", self.keep_hourly),
            ("daily", self.keep_daily),
            ("weekly", self.keep_weekly),
            ("monthly", self.keep_monthly),
            ("yearly", self.keep_yearly),
        )

    @property
    def is_empty(self) -> bool:
        """Whether no snapshot would be kept by it."""
        within = self.keep_within is not None and not self.keep_within.is_zero
        return not (within or self.keep_labels or any(count for _, count in self.counts))
