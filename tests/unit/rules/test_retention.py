"""Retention: the snapshots that a policy keeps, the reasons, and what is never deleted."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.retention_calendar import span_start
from snapshot_mcp.rules.retention_policy import (
    KEEP_ALL,
    CalendarSpan,
    CountRule,
    GroupBy,
    RetentionPolicy,
    parse_span,
)
from tests.unit.rules.retention_helpers import BERLIN, NOW, TOKYO, UTC_ZONE, at, decide


def daily(number: int) -> list[Snapshot]:
    """Return snapshots, one per day; the newest, of 19 November, has the id 1."""
    return [
        at(index + 1, datetime(2026, 11, 19, 3, tzinfo=UTC) - timedelta(days=index))
        for index in range(number)
    ]


def policy(**rules: Any) -> RetentionPolicy:  # noqa: ANN401 - the fields of the policy
    return RetentionPolicy.model_validate({"time_zone": UTC_ZONE, **rules})


def kept_reasons(
    history: list[Snapshot],
    *,
    may_delete_last_copy: bool = False,
    now: datetime = NOW,
    **rules: Any,  # noqa: ANN401 - the fields of the policy
) -> dict[int, str]:
    """Return the reasons of the kept snapshots, by id."""
    decisions = decide(history, policy(**rules), may_delete_last_copy=may_delete_last_copy, now=now)
    return {
        decision.snapshot.id: "; ".join(decision.reasons) for decision in decisions if decision.keep
    }


# Reasons.


def test_each_reason_has_its_count_and_its_period() -> None:
    rules: dict[str, Any] = {f"keep_{rule}": 2 for rule in get_args(CountRule)}
    assert kept_reasons(daily(1), **rules) == {
        1: "last 1 of 2; hourly 1 of 2, 2026-11-19 03:00; daily 1 of 2, 2026-11-19;"
        " weekly 1 of 2, 2026-W47; monthly 1 of 2, 2026-11; yearly 1 of 2, 2026"
    }


def test_a_deletion_has_a_reason_too() -> None:
    kept, gone = decide(daily(2), policy(keep_last=1))
    assert (kept.keep, kept.reasons) == (True, ("last 1 of 1",))
    assert (gone.keep, gone.reasons) == (False, ("no rule keeps it",))


def test_a_count_of_minus_one_keeps_all() -> None:
    assert kept_reasons(daily(3), keep_daily=KEEP_ALL) == {
        1: "daily 1 of all, 2026-11-19",
        2: "daily 2 of all, 2026-11-18",
        3: "daily 3 of all, 2026-11-17",
    }


# Counting.


def test_the_newest_of_each_period_is_kept_and_empty_periods_are_not_counted() -> None:
    history = [
        at(1, "2026-11-19T20:00"),
        at(2, "2026-11-19T08:00"),
        at(3, "2026-11-02T20:00"),
        at(4, "2026-11-02T08:00"),
        at(5, "2025-01-01T08:00"),
    ]
    assert kept_reasons(history, keep_daily=2) == {
        1: "daily 1 of 2, 2026-11-19",
        3: "daily 2 of 2, 2026-11-02",
    }


def test_the_oldest_is_kept_while_a_count_is_not_used_up() -> None:
    assert kept_reasons(daily(9), keep_monthly=3) == {
        1: "monthly 1 of 3, 2026-11",
        9: "oldest, monthly 2 of 3",
    }
    assert kept_reasons(daily(9), keep_monthly=1) == {1: "monthly 1 of 1, 2026-11"}


def test_weeks_are_those_of_the_iso_calendar() -> None:
    history = [at(1, "2027-01-03T12:00"), at(2, "2026-12-28T12:00"), at(3, "2026-12-27T12:00")]
    assert kept_reasons(history, keep_weekly=2, now=datetime(2027, 2, 1, tzinfo=UTC)) == {
        1: "weekly 1 of 2, 2026-W53",
        3: "weekly 2 of 2, 2026-W52",
    }


def test_of_two_snapshots_with_the_same_time_the_higher_id_is_newer() -> None:
    history = [at(number, "2026-11-19T03:00") for number in (2, 3, 1)]
    assert [decision.snapshot.id for decision in decide(history, policy(keep_last=1))] == [3, 2, 1]
    assert kept_reasons(history, keep_last=2) == {3: "last 1 of 2", 2: "last 2 of 2"}


def test_a_snapshot_that_is_listed_twice_is_counted_and_decided_once() -> None:
    first, second = daily(2)
    assert kept_reasons([first, second, first], keep_last=2) == {1: "last 1 of 2", 2: "last 2 of 2"}
    assert len(decide([first, second, first], policy(keep_last=1))) == 2


# Time zones.


@pytest.mark.parametrize(("zone", "day"), [(TOKYO, "2026-11-20"), (UTC_ZONE, "2026-11-19")])
def test_a_day_begins_in_the_time_zone_of_the_policy(zone: ZoneInfo, day: str) -> None:
    reasons = kept_reasons([at(1, "2026-11-19T23:30")], keep_daily=1, time_zone=zone)
    assert reasons == {1: f"daily 1 of 1, {day}"}


def test_two_snapshots_may_share_a_day_in_one_zone_only() -> None:
    history = [at(1, "2026-11-19T23:30"), at(2, "2026-11-19T14:30"), at(3, "2026-10-01")]
    assert kept_reasons(history, keep_daily=2, time_zone=TOKYO).keys() == {1, 2}
    assert kept_reasons(history, keep_daily=2).keys() == {1, 3}


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 24), ("2026-11-10", 24)]
)
def test_a_day_with_a_clock_change_is_one_day(day: str, hours: int) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=BERLIN).astimezone(UTC)
    length = {"2026-03-29": 23, "2026-10-25": 25}.get(day, 24)
    # The last three are of the day before, so none of this day is the oldest.
    history = [at(number + 1, midnight + timedelta(hours=number)) for number in range(-3, length)]
    by_day = kept_reasons(history, keep_daily=KEEP_ALL, time_zone=BERLIN)
    assert [reasons for reasons in by_day.values() if day in reasons] == [f"daily 1 of all, {day}"]
    by_hour = kept_reasons(history, keep_hourly=KEEP_ALL, time_zone=BERLIN)
    # The hour that occurs twice is counted once.
    assert len([reasons for reasons in by_hour.values() if day in reasons]) == hours


@pytest.mark.parametrize("time", ["0001-01-01", "9999-12-31T23:59:59"])
@pytest.mark.parametrize("zone", [TOKYO, ZoneInfo("America/New_York")])
def test_the_first_and_last_moments_of_the_calendar_are_counted(time: str, zone: ZoneInfo) -> None:
    rules: dict[str, Any] = {f"keep_{rule}": 1 for rule in get_args(CountRule)}
    history = [at(1, time), at(2, NOW)]
    decisions = decide(history, policy(**rules, keep_within=CalendarSpan(days=1), time_zone=zone))
    assert {decision.snapshot.id for decision in decisions} == {1, 2}


# Spans.


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("2y5m7d3h", CalendarSpan(years=2, months=5, days=7, hours=3)),
        ("30d", CalendarSpan(days=30)),
        ("1y1h", CalendarSpan(years=1, hours=1)),
        ("99999h", CalendarSpan(hours=99_999)),
    ],
)
def test_a_span_is_parsed_and_formatted(text: str, within: CalendarSpan) -> None:
    assert parse_span(text) == within
    assert str(within) == text


@pytest.mark.parametrize(
    "text",  # the last is an Arabic digit
    ["", "0d", "0y0h", "7", "d", "-1d", "1.5d", "3d2m", "1d1d", "1w", "1d\n", "100000d", "\u0661d"],
)
def test_other_text_is_not_a_span(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be whole years, months, days and hours"):
        parse_span(text)


def test_keep_within_is_measured_from_the_newest_snapshot() -> None:
    history = [at(1, "2020-03-10T12:00"), at(2, "2020-03-08T12:01"), at(3, "2020-03-08T12:00")]
    within = "within 2d of the newest"
    assert kept_reasons(history, keep_within=CalendarSpan(days=2)) == {1: within, 2: within}


def test_a_snapshot_from_the_future_does_not_make_others_old() -> None:
    history = [at(9, "2090-01-01"), *daily(3)]
    assert kept_reasons(history, keep_within=CalendarSpan(hours=30)).keys() == {9, 1, 2}
    all_ahead = [at(1, "2090-01-01"), at(2, "2080-01-01")]
    assert kept_reasons(all_ahead, keep_within=CalendarSpan(hours=1)).keys() == {1, 2}


@pytest.mark.parametrize(
    ("text", "end", "start"),
    [
        ("1m", "2026-03-31T12:00+02:00", "2026-03-03T12:00+01:00"),
        ("1y", "2024-02-29T12:00+01:00", "2023-03-01T12:00+01:00"),
        ("1d", "2026-03-29T12:00+02:00", "2026-03-28T12:00+01:00"),
        ("24h", "2026-03-29T12:00+02:00", "2026-03-28T11:00+01:00"),
        ("1d", "2026-10-25T12:00+01:00", "2026-10-24T12:00+02:00"),
        ("1h", "2026-10-25T02:30+01:00", "2026-10-25T02:30+02:00"),
        ("1y2m3d4h", "2026-01-02T03:00+01:00", "2024-10-29T23:00+01:00"),
    ],
)
def test_a_span_has_the_length_of_its_months_and_years(text: str, end: str, start: str) -> None:
    found = span_start(parse_span(text), datetime.fromisoformat(end), BERLIN)
    assert found == datetime.fromisoformat(start)


@pytest.mark.parametrize("text", ["99999y", "2026y", "99999m", "2025y10m20d", "2025y10m18d99999h"])
def test_a_span_before_the_year_1_keeps_all(text: str) -> None:
    assert span_start(parse_span(text), NOW, BERLIN) is None
    assert len(kept_reasons(daily(4), keep_within=parse_span(text))) == 4


# Labels and groups.


def test_a_label_keeps_ignoring_case_and_without_using_up_a_count() -> None:
    history = [at(1, "2026-11-19"), at(2, "2026-11-18", labels=("KEEP",)), at(3, "2026-11-17")]
    kept = kept_reasons(history, keep_last=1, keep_labels=("keep", "of mine"))
    assert kept == {1: "last 1 of 1", 2: "label keep"}


def test_uncertain_labels_keep_if_the_policy_has_labels() -> None:
    history = [at(1, "2026-11-19"), at(2, "2026-11-18", labels=("kee",), altered=("labels",))]
    kept = kept_reasons(history, keep_last=1, keep_labels=("keep",))
    assert kept[2] == "its labels are not certain"
    assert kept_reasons(history, keep_last=1).keys() == {1}


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("vm", ["VM 5", "VM 5", "VM 12", "unknown VM"]),
        ("region", ['region "A, B"', "region NORWAY-1", "unknown region", "unknown region"]),
        ("label", ['label "a b", prod', "label prod", "label prod", "no label"]),
    ],
)
def test_groups_have_names_and_an_order(by: GroupBy, names: list[str]) -> None:
    history = [
        at(1, "2026-11-16", vm_id=12, region="NORWAY-1", labels=("prod",)),
        at(2, "2026-11-17", vm_id=None, region="A, B", labels=("prod", "a b")),
        at(3, "2026-11-18", region="", labels=("prod", "prod")),
        at(4, "2026-11-19", region=None),
    ]
    assert [
        decision.group for decision in decide(history, policy(keep_last=1, group_by=by))
    ] == names


def test_each_group_is_counted_separately() -> None:
    history = [*daily(3), at(7, "2020-01-01", vm_id=6), at(8, "2020-01-02", vm_id=6)]
    assert kept_reasons(history, keep_last=1).keys() == {1, 8}


# Snapshots that are never deleted.


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "CREATING"}, "it is pending"),
        ({"status": "ERROR"}, "it is failed"),
        ({"status": "DELETING"}, "it is being deleted"),
        ({"status": "THAWING"}, "its status is unknown"),
        ({"status": None}, "its status is unknown"),
        ({"created_at": None}, "its creation time is unknown"),
    ],
)
def test_snapshots_that_are_not_ready_or_have_no_time_are_kept_and_not_counted(
    fields: dict[str, object], reason: str
) -> None:
    history = [*daily(2), at(9, "2026-11-20", **fields), at(10, "2020-11-20", **fields)]
    assert kept_reasons(history, keep_last=1, may_delete_last_copy=True) == {
        1: "last 1 of 1",
        9: reason,
        10: reason,
    }
    # It does not count as the oldest either.
    assert kept_reasons(history, keep_yearly=2)[2] == "oldest, yearly 2 of 2"


def test_a_protected_snapshot_is_kept_and_counted() -> None:
    def rule(snapshot: Snapshot) -> str | None:
        return "The operator says so." if snapshot.id in (1, 4) else None

    decisions = decide(daily(4), policy(keep_last=2), protected=rule)
    assert [decision.reasons for decision in decisions] == [
        ("protected: The operator says so.", "last 1 of 2"),
        ("last 2 of 2",),
        ("no rule keeps it",),
        ("protected: The operator says so.",),
    ]


def test_the_last_copy_of_a_vm_is_kept_unless_the_policy_permits_its_deletion() -> None:
    history = daily(3)
    assert kept_reasons(history, keep_labels=("keep",)) == {1: "the last ready copy of its VM"}
    assert kept_reasons(history, keep_labels=("keep",), may_delete_last_copy=True) == {}


def test_the_newest_copy_of_a_vm_is_kept_beside_an_older_one() -> None:
    history = [*daily(2), at(3, "2020-01-01", labels=("keep",))]
    assert kept_reasons(history, keep_labels=("keep",)) == {
        1: "the newest ready copy of its VM",
        3: "label keep",
    }


def test_the_last_copy_is_found_per_vm_for_any_grouping() -> None:
    history = [at(1, "2026-11-19", region="A"), at(2, "2026-11-18", region="A", vm_id=6)]
    assert kept_reasons(history, keep_last=1, group_by="region") == {
        1: "last 1 of 1",
        2: "the last ready copy of its VM",
    }


def test_a_snapshot_of_an_unknown_vm_may_be_the_last_copy() -> None:
    history = [at(1, "2026-11-19", vm_id=None), at(2, "2026-11-18", vm_id=None)]
    unknown = "its VM is unknown, so it may be the last copy"
    regions = [snapshot.model_copy(update={"region": "A"}) for snapshot in history]
    by_region: dict[str, Any] = {"keep_last": 1, "group_by": "region"}
    assert kept_reasons(regions, **by_region) == {1: "last 1 of 1", 2: unknown}
    assert kept_reasons(regions, **by_region, may_delete_last_copy=True) == {1: "last 1 of 1"}


@pytest.mark.parametrize("may", [False, True])
@pytest.mark.parametrize(
    ("by", "omitted", "reason"),
    [
        ("vm", ("vm_id",), "its VM is unknown"),
        ("region", ("region", "region_id"), "its region is unknown"),
        ("label", ("labels",), "its labels are unknown"),
    ],
)
def test_snapshots_with_an_unknown_value_are_not_one_group(
    *, by: GroupBy, omitted: tuple[str, ...], reason: str, may: bool
) -> None:
    unknown = dict.fromkeys(omitted)
    history = [at(number, f"2026-11-{number:02}", **unknown) for number in range(1, 6)]
    kept = kept_reasons(history, keep_daily=1, group_by=by, may_delete_last_copy=may)
    assert kept == dict.fromkeys(range(1, 6), reason)


def test_regions_without_a_name_are_grouped_by_their_id() -> None:
    history = [at(n, f"2026-11-{n:02}", region_id=1 + n % 2, region=None) for n in range(1, 5)]
    kept = kept_reasons(history, keep_last=1, group_by="region", may_delete_last_copy=True)
    assert kept.keys() == {3, 4}


def test_snapshots_with_uncertain_labels_are_kept_when_grouped_by_label() -> None:
    history = [at(n, f"2026-11-{n:02}", labels=("a",), altered=("labels",)) for n in (1, 2)]
    kept = kept_reasons(history, keep_last=1, group_by="label", may_delete_last_copy=True)
    assert kept == {1: "its labels are unknown", 2: "its labels are unknown"}


def test_a_snapshot_with_unknown_labels_may_have_a_label_to_keep() -> None:
    history = [*daily(2), at(9, "2020-11-20", labels=None)]
    kept = kept_reasons(history, keep_labels=("keep",), may_delete_last_copy=True)
    assert kept == {9: "its labels are unknown"}
    assert 9 not in kept_reasons(history, keep_last=1, may_delete_last_copy=True)


# The policy.


@pytest.mark.parametrize("rules", [{}, {"keep_within": CalendarSpan()}, {"group_by": "label"}])
def test_an_empty_policy_is_rejected(rules: dict[str, object]) -> None:
    assert policy(**rules).is_empty
    with pytest.raises(ValueError, match="would keep no snapshot"):
        decide([], policy(**rules))


@pytest.mark.parametrize(
    "rules",
    [
        {"keep_last": -2},
        {"keep_last": 100_001},
        {"keep_last": True},
        {"keep_last": "1"},
        {"keep_labels": ("",)},
        {"keep_lsat": 1},
        {"group_by": "name"},
        {"time_zone": None},
    ],
)
def test_a_policy_is_validated(rules: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        policy(**rules)


def test_the_current_time_matters_only_for_snapshots_in_the_future() -> None:
    """In a second run, a snapshot from the future can become the reference of `keep_within`."""
    history = [at(1, "2026-11-21"), at(2, "2026-11-19"), at(3, "2026-11-10")]
    assert kept_reasons(history, keep_within=CalendarSpan(days=1), now=NOW).keys() == {1, 2}
    later = NOW + timedelta(days=1)
    assert kept_reasons(history, keep_within=CalendarSpan(days=1), now=later).keys() == {1}


def test_an_empty_history_has_no_decisions() -> None:
    assert decide([], policy(keep_last=1)) == []
