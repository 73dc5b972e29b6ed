"""The retention policy: counts, labels and a calendar span, with the text format of the span."""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field

from snapshot_mcp.models.cloud import MAX_LABELS, FrozenModel, Label

KEEP_ALL = -1
"""A count without a limit."""
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
    """A span of the calendar. The length of its months and years depends on the date."""

    years: _Number = 0
    months: _Number = 0
    days: _Number = 0
    hours: _Number = 0

    @property
    def is_zero(self) -> bool:
        """Whether its length is zero."""
        return not (self.years or self.months or self.days or self.hours)

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number)


def parse_span(text: str) -> CalendarSpan:
    """Parse a span such as "2y5m7d3h".

    Raises:
        ValueError: the text has another format, or the length is zero.
    """
    match = _SPAN.fullmatch(text)
    numbers = match.groupdict(default="0") if match else {}
    span = CalendarSpan(**{unit: int(number) for unit, number in numbers.items()})
    if span.is_zero:
        raise ValueError(
            "must be whole years, months, days and hours in this order, such as 2y5m7d3h or 30d,"
            f" each at most {MAX_SPAN_NUMBER} and not all of them 0"
        )
    return span


class RetentionPolicy(_PolicyModel):
    """Rules for what to keep. A snapshot is kept if any of them matches.

    A count of 0 disables a rule, and -1 keeps all. A rule keeps the newest snapshot of each period;
    periods without a snapshot are not counted.

    Attributes:
        keep_last: number of newest snapshots to keep.
        keep_hourly: number of hours to keep a snapshot of.
        keep_daily: number of days to keep a snapshot of.
        keep_weekly: number of ISO weeks to keep a snapshot of.
        keep_monthly: number of months to keep a snapshot of.
        keep_yearly: number of years to keep a snapshot of.
        keep_within: keeps all within this span before the newest of the group.
        keep_labels: keeps snapshots with one of these labels, ignoring case.
        group_by: the rules apply to each group separately.
        time_zone: time zone of the periods.
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
        """The counting rules, in the order of their reasons."""
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
        """Whether it would keep no snapshot."""
        has_span = self.keep_within is not None and not self.keep_within.is_zero
        return not (has_span or self.keep_labels or any(count for _, count in self.counts))
