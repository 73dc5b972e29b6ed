"""Retention: what holds for any history and any policy."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.retention import Decision, FindProtection
from snapshot_mcp.rules.retention_policy import (
    KEEP_ALL,
    CalendarSpan,
    CountRule,
    GroupBy,
    RetentionPolicy,
    parse_span,
)
from tests.units.test_retention import BERLIN, NOW, TOKYO, UTC_ZONE, decided


def mostly(*usual: st.SearchStrategy[Any], rarely: st.SearchStrategy[Any]) -> Any:  # noqa: ANN401
    """One of the usual ones in six of seven draws; `one_of` would take each as often."""
    return st.integers(0, 6).flatmap(lambda turn: rarely if turn == 6 else usual[turn % len(usual)])


def with_counts(counts: dict[str, int], **others: object) -> RetentionPolicy:
    return RetentionPolicy.model_validate(counts | others)


moments = st.datetimes(datetime(2023, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001
near_moments = st.integers(0, 80).map(lambda half: NOW - timedelta(minutes=30 * half))
snapshots = st.builds(
    Snapshot,
    id=st.integers(1, 40),
    status=mostly(
        st.just("SUCCESS"), rarely=st.sampled_from(["CREATING", "ERROR", "THAWING", None])
    ),
    vm_id=st.sampled_from([1, 1, 1, 2, 2, 3, None]),
    region=st.sampled_from(["NORWAY-1", "US-1", None]),
    created_at=mostly(near_moments, near_moments, near_moments, moments, rarely=st.none()),
    labels=st.sampled_from([(), (), (), ("keep",), ("WEB",), ("keep", "web")]),
    altered=mostly(st.none(), rarely=st.just(("labels",))),
)
# Left alone, most histories would be so short that nothing ever goes.
histories = st.sampled_from([0, 2, 12, 12]).flatmap(
    lambda least: st.lists(snapshots, min_size=least, max_size=25, unique_by=lambda it: it.id)
)
policies = st.builds(
    with_counts,
    st.dictionaries(
        st.sampled_from([f"keep_{rule}" for rule in get_args(CountRule)]),
        st.sampled_from([1, 2, 3, 7, KEEP_ALL]),
        max_size=2,
    ),
    keep_within=mostly(
        st.none(), rarely=st.sampled_from(["3h", "1d", "1m", "1y2m"]).map(parse_span)
    ),
    keep_labels=st.sampled_from([(), (), (), ("keep",), ("Keep", "web")]),
    group_by=st.sampled_from(get_args(GroupBy)),
    time_zone=st.sampled_from([UTC_ZONE, BERLIN, TOKYO, ZoneInfo("America/New_York")]),
).filter(lambda it: not it.is_empty)


def protecting(ids: set[int]) -> FindProtection:
    return lambda it: "a rule" if it.id in ids else None


some_protected = st.sets(st.integers(1, 40), max_size=3).map(protecting)


def kept_ids(decisions: list[Decision]) -> set[int]:
    return {it.snapshot.id for it in decisions if it.keep}


@given(histories, policies, some_protected, st.booleans())
def test_every_snapshot_is_decided_once_with_reasons(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
    may: bool,  # noqa: FBT001
) -> None:
    decisions = decided(history, chosen, protected=protected, may_delete_last_copy=may)
    assert sorted(it.snapshot.id for it in decisions) == sorted(it.id for it in history)
    assert all(it.reasons and it.keep == ("no rule keeps it" not in it.reasons) for it in decisions)
    again = decided(history[::-1], chosen, protected=protected, may_delete_last_copy=may)
    assert again == decisions
    groups = [it.group for it in decisions]
    assert len({*groups}) == sum(
        before != after for before, after in zip([None, *groups], groups, strict=False)
    )


@given(histories, policies, some_protected)
def test_the_newest_ready_snapshot_of_a_vm_never_goes_by_default(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
) -> None:
    kept = kept_ids(decided(history, chosen, protected=protected))
    ready = [it for it in history if it.state == "ready" and it.created_at]
    for vm_id in {it.vm_id for it in ready}:
        _, newest = max((it.created_at or NOW, it.id) for it in ready if it.vm_id == vm_id)
        assert newest in kept


@given(histories, policies, some_protected, st.booleans())
def test_protected_pending_failed_and_unknown_ones_never_go(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
    may: bool,  # noqa: FBT001
) -> None:
    for it in decided(history, chosen, protected=protected, may_delete_last_copy=may):
        sure = it.snapshot.state == "ready" and it.snapshot.created_at is not None
        assert it.keep or (sure and protected(it.snapshot) is None)


@given(histories, policies, st.data(), st.booleans())
def test_a_larger_policy_never_lets_more_go(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    data: st.DataObject,
    may: bool,  # noqa: FBT001
) -> None:
    rule, count = data.draw(st.sampled_from(chosen.counts))
    assume(count != KEEP_ALL)
    more = data.draw(st.sampled_from([count + 1, count + 5, KEEP_ALL]))
    within = chosen.keep_within or CalendarSpan()
    larger = chosen.model_copy(
        update=data.draw(
            st.sampled_from(
                [
                    {f"keep_{rule}": more},
                    {"keep_labels": (*chosen.keep_labels, "web")},
                    {"keep_within": within.model_copy(update={"days": within.days + 1})},
                    {"keep_within": within.model_copy(update={"months": within.months + 1})},
                ]
            )
        )
    )
    fewer_kept = kept_ids(decided(history, chosen, may_delete_last_copy=may))
    assert fewer_kept <= kept_ids(decided(history, larger, may_delete_last_copy=may))


@given(histories, policies, some_protected, st.booleans())
def test_deciding_again_over_what_was_kept_lets_nothing_more_go(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
    may: bool,  # noqa: FBT001
) -> None:
    """It holds everywhere, so long as the time and what is protected stay as they were."""
    decisions = decided(history, chosen, protected=protected, may_delete_last_copy=may)
    left = [it.snapshot for it in decisions if it.keep]
    again = decided(left, chosen, protected=protected, may_delete_last_copy=may)
    assert kept_ids(again) == {it.id for it in left}
