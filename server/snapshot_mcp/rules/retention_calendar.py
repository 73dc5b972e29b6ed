"""Calendar arithmetic for retention: the start of a span, and the periods of a calendar."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

from snapshot_mcp.rules.retention_policy import CalendarSpan

PeriodKind = Literal["hourly", "daily", "weekly", "monthly", "yearly"]


def span_start(span: CalendarSpan, end: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the UTC time one span before `end`; None if it is before the year 1.

    Years, months and days are subtracted from the local date in `zone`, then the hours from the
    elapsed time. A day that the month does not have overflows into the next month.
    """
    local = to_zone(end, zone)
    months = local.year * 12 + local.month - 1 - span.years * 12 - span.months
    if months < 12:  # noqa: PLR2004 - months before the year 1
        return None
    first = local.replace(year=months // 12, month=months % 12 + 1, day=1)
    try:
        local_start = first + timedelta(days=local.day - 1 - span.days)
        # Addition drops `fold`, which distinguishes the two hours when clocks are set back.
        return local_start.replace(fold=local.fold).astimezone(UTC) - timedelta(hours=span.hours)
    except OverflowError:
        return None


def period_key(kind: PeriodKind, local: datetime) -> str:
    """Return the hour, day, ISO week, month or year of `local` as text.

    An hour that occurs twice when clocks are set back is one period.
    """
    return _PERIODS[kind](local)


def to_zone(time: datetime, zone: ZoneInfo) -> datetime:
    """Return the same moment in the local time of `zone`."""
    try:
        return time.astimezone(zone)
    except OverflowError:  # on the first or last day of the calendar
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
