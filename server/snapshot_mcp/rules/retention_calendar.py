"""Time as retention counts it: the start of a span, and the periods of a calendar."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

from snapshot_mcp.rules.retention_policy import CalendarSpan

PeriodKind = Literal["hourly", "daily", "weekly", "monthly", "yearly"]


def span_start(span: CalendarSpan, end: datetime, zone: ZoneInfo) -> datetime | None:
    """The moment (UTC) that lies this span before `end`; None when no calendar reaches so far.

    Years, months and days are taken from the date and the wall clock in `zone`, then the hours from
    the time that really passed. A day that the month does not have is as many days into the next.
    """
    local = to_zone(end, zone)
    months = local.year * 12 + local.month - 1 - span.years * 12 - span.months
    if months < 12:  # noqa: PLR2004 - months before the year 1
        return None
    first = local.replace(year=months // 12, month=months % 12 + 1, day=1)
    try:
        wall = first + timedelta(days=local.day - 1 - span.days)
        # Addition forgets which of the two hours it was where the clocks were set back.
        return wall.replace(fold=local.fold).astimezone(UTC) - timedelta(hours=span.hours)
    except OverflowError:
        return None


def period_key(kind: PeriodKind, local: datetime) -> str:
    """The hour, day, ISO week, month or year of `local`, as people write it.

    An hour that the clocks show twice is one period.
    """
    return _PERIODS[kind](local)


def to_zone(time: datetime, zone: ZoneInfo) -> datetime:
    """The same moment as the clocks in `zone` show it."""
    try:
        return time.astimezone(zone)
    except OverflowError:  # the calendar's first or last day has no place for the difference
        return time


def _week(local: datetime) -> str:
    year, week, _ = local.isocalendar()
    return f"{year:04}-W{week:02}"


_PERIODS: Mapping[PeriodKind, Callable[[datetime], str]] = MappingProxyType(
    {
        "hourly": lambda local: f"{local.isoformat(' ')[:13]}:00",
        "daily": lambda local: local.date().isoformat(),
        "weekly": _week,
        "monthly": lambda local: local.date().isoformat()[:7],
        "yearly": lambda local: local.date().isoformat()[:4],
    }
)
