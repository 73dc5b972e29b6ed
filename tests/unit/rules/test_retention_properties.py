"""Retention: properties of any history and any policy."""

from collections.abc import Mapping
from functools import partial

from hypothesis import assume, given
from hypothesis import strategies as st

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.policy import Allow, Policy, Protect, check_protection
from snapshot_mcp.rules.retention import Decision, FindProtection
from snapshot_mcp.rules.retention_policy import (
    KEEP_ALL,
    CalendarSpan,
    RetentionPolicy,
)
from tests.unit.rules.retention_helpers import NOW, decide
from tests.unit.rules.retention_strategies import histories, policies


def protecting(ids: set[int]) -> FindProtection:
    return lambda snapshot: "a rule" if snapshot.id in ids else None


some_protected = st.sets(st.integers(1, 40), max_size=3).map(protecting)


def kept_ids(decisions: list[Decision]) -> set[int]:
    return {decision.snapshot.id for decision in decisions if decision.keep}


@given(histories, policies, some_protected, st.booleans())
def test_each_snapshot_is_decided_once_with_reasons(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
    may: bool,  # noqa: FBT001
) -> None:
    decisions = decide(history, chosen, protected=protected, may_delete_last_copy=may)
    assert sorted(decision.snapshot.id for decision in decisions) == sorted(
        snapshot.id for snapshot in history
    )
    assert all(
        decision.reasons and decision.keep == ("no rule keeps it" not in decision.reasons)
        for decision in decisions
    )
    again = decide(history[::-1], chosen, protected=protected, may_delete_last_copy=may)
    assert again == decisions
    groups = [decision.group for decision in decisions]
    assert len({*groups}) == sum(
        before != after for before, after in zip([None, *groups], groups, strict=False)
    )


@given(histories, policies, some_protected)
def test_the_newest_ready_snapshot_of_a_vm_is_kept_by_default(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
) -> None:
    kept = kept_ids(decide(history, chosen, protected=protected))
    ready = [snapshot for snapshot in history if snapshot.state == "ready" and snapshot.created_at]
    for vm_id in {snapshot.vm_id for snapshot in ready}:
        _, newest = max(
            (snapshot.created_at or NOW, snapshot.id)
            for snapshot in ready
            if snapshot.vm_id == vm_id
        )
        assert newest in kept


@given(histories, policies, some_protected, st.booleans())
def test_protected_pending_failed_and_unknown_snapshots_are_kept(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
    may: bool,  # noqa: FBT001
) -> None:
    for decision in decide(history, chosen, protected=protected, may_delete_last_copy=may):
        sure = decision.snapshot.state == "ready" and decision.snapshot.created_at is not None
        assert decision.keep or (sure and protected(decision.snapshot) is None)


OMITTED_FIELDS = (
    *("name", "status", "vm_id", "vm_name", "vm_status", "size", "created_at", "updated_at"),
    *("region_id", "region", "labels", "custom_image"),
)


def named(snapshot: Snapshot, values: Mapping[str, object]) -> Snapshot:
    return snapshot.model_copy(update=values)


operator_policies = st.builds(
    Policy,
    protect=st.builds(
        Protect,
        labels=st.sampled_from([(), ("web",)]),
        names=st.sampled_from([(), ("db*",)]),
        vm_ids=st.sampled_from([(), (2,)]),
        minimum_age_hours=st.sampled_from([0, 24]),
        keep_newest=st.integers(0, 3),
        keep_last_copy=st.booleans(),
    ),
    allow=st.builds(Allow, regions=st.sampled_from([None, ("NORWAY-1",)])),
)
names = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["web-1", "db-1"]),
        "vm_name": st.sampled_from(["web", "db", None]),
        "custom_image": st.none(),
    }
)
named_histories = histories.flatmap(
    lambda history: st.tuples(*(names.map(partial(named, snapshot)) for snapshot in history)).map(
        list
    )
)


@given(named_histories, policies, operator_policies, st.data(), st.booleans())
def test_a_field_that_a_list_omits_never_turns_a_keep_into_a_delete(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    operator_policy: Policy,
    data: st.DataObject,
    may: bool,  # noqa: FBT001
) -> None:
    assume(history)
    omissions = st.sets(st.sampled_from(OMITTED_FIELDS), max_size=2)
    shorter = [without(snapshot, data.draw(omissions)) for snapshot in history]
    before, after = (
        kept_ids(
            decide(
                snapshots,
                chosen,
                protected=protection_of(operator_policy, snapshots),
                may_delete_last_copy=may,
            )
        )
        for snapshots in (history, shorter)
    )
    assert before <= after


def without(snapshot: Snapshot, fields: set[str]) -> Snapshot:
    """Return the snapshot as a list shows it that omits these fields."""
    values = {name: value for name, value in dict(snapshot).items() if name not in fields}
    return Snapshot(**values)


def protection_of(operator_policy: Policy, history: list[Snapshot]) -> FindProtection:
    def find(snapshot: Snapshot) -> str | None:
        siblings = [other for other in history if other.vm_id == snapshot.vm_id]
        violation = check_protection(operator_policy, snapshot, siblings, NOW)
        return violation.message if violation else None

    return find


@given(histories, policies, st.data(), st.booleans())
def test_a_larger_policy_never_deletes_more(
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
    fewer_kept = kept_ids(decide(history, chosen, may_delete_last_copy=may))
    assert fewer_kept <= kept_ids(decide(history, larger, may_delete_last_copy=may))


@given(histories, policies, some_protected, st.booleans())
def test_a_second_run_over_the_kept_snapshots_deletes_nothing(
    history: list[Snapshot],
    chosen: RetentionPolicy,
    protected: FindProtection,
    may: bool,  # noqa: FBT001
) -> None:
    """This holds while the time and the protected snapshots stay the same."""
    decisions = decide(history, chosen, protected=protected, may_delete_last_copy=may)
    left = [decision.snapshot for decision in decisions if decision.keep]
    again = decide(left, chosen, protected=protected, may_delete_last_copy=may)
    assert kept_ids(again) == {snapshot.id for snapshot in left}
