"""A batch of deletions: what it covers, what it depends on, and what stops one of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.cost import estimate_monthly_cost
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention_batch import (
    confirmation_words,
    copies_to_check,
    deletion_obstacle,
    drift_facts,
    may_delete_last_copy,
    plan_batch,
    total_gigabytes,
)
from snapshot_mcp.rules.retention_policy import RetentionPolicy
from tests.units.test_retention import NOW, at, decided
from tests.units.test_retention_properties import histories, policies

EMPTY = Policy()


def policy(**sections: dict[str, object]) -> Policy:
    return Policy.model_validate(sections)


@given(histories, policies, st.integers(0, 12))
def test_a_batch_has_the_oldest_deletions_and_every_decision_once(
    history: list[Snapshot], chosen: RetentionPolicy, most: int
) -> None:
    decisions = decided(history, chosen)
    planned = plan_batch(decisions, most)
    going = [it for it in decisions if not it.keep]
    assert sorted(it.snapshot.id for it in planned.decisions) == sorted(it.id for it in history)
    assert planned.delete_count == min(most, len(going)) == len(planned.to_delete)
    assert planned.delete_count + planned.postponed_count == len(going)
    keeps = [it.keep for it in planned.decisions]
    assert keeps == [False] * planned.delete_count + [True] * (len(keeps) - planned.delete_count)
    taken = [it.created_at for it in planned.to_delete if it.created_at]
    left = {it.snapshot.id for it in going} - {it.id for it in planned.to_delete}
    later = [it.created_at for it in history if it.id in left and it.created_at]
    assert taken == sorted(taken)
    assert not taken or not later or taken[-1] <= min(later)


@given(histories, policies)
def test_what_a_plan_deletes_may_be_deleted_as_long_as_nothing_changes(
    history: list[Snapshot], chosen: RetentionPolicy
) -> None:
    planned = plan_batch(decided(history, chosen), 50)
    going = {it.id for it in planned.to_delete}
    known = {it.id: it for it in history}
    for snapshot in planned.to_delete:
        copies = copies_to_check(EMPTY, snapshot, history, going)
        assert going.isdisjoint(copies)
        assert deletion_obstacle(EMPTY, snapshot, [known[it] for it in copies], NOW) is None
        assert (
            deletion_obstacle(EMPTY, snapshot, [], NOW)
            == "it may be the newest ready copy of its VM now"
        )


def test_as_many_copies_are_looked_at_as_the_policy_counts() -> None:
    history = [at(number, NOW - timedelta(days=number)) for number in range(1, 7)]
    oldest, going = history[-1], {6}
    assert copies_to_check(EMPTY, oldest, history, going) == [1]
    three = policy(protect={"keep_newest": 3})
    assert copies_to_check(three, oldest, history, going) == [1, 2, 3]
    free = policy(retention={"may_delete_last_copy": True})
    assert copies_to_check(free, oldest, history, going) == []
    assert deletion_obstacle(free, oldest, [], NOW) is None


@pytest.mark.parametrize(
    ("sections", "may"),
    [
        ({}, False),
        ({"retention": {"may_delete_last_copy": True}}, True),
        ({"retention": {"may_delete_last_copy": True}, "protect": {"keep_last_copy": True}}, False),
    ],
)
def test_the_last_copy_may_go_only_where_no_rule_of_the_operator_keeps_it(
    *, sections: dict[str, dict[str, object]], may: bool
) -> None:
    assert may_delete_last_copy(policy(**sections)) is may


def test_a_copy_that_failed_meanwhile_or_is_of_another_vm_is_none() -> None:
    old, new = at(1, NOW - timedelta(days=2)), at(2, NOW - timedelta(days=1))
    assert deletion_obstacle(EMPTY, old, [new], NOW) is None
    for useless in ({"status": "ERROR"}, {"vm_id": 6}, {"created_at": None}):
        changed = new.model_copy(update=useless)
        assert deletion_obstacle(EMPTY, old, [changed], NOW) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"status": "ERROR"},
        {"vm_id": 6},
        {"size": 9},
        {"created_at": NOW},
        {"updated_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"labels": ("keep",)},
    ],
)
def test_every_fact_of_a_plan_shows_that_it_changed(change: dict[str, object]) -> None:
    snapshot = at(1, NOW - timedelta(days=1))
    assert drift_facts(snapshot.model_copy(update=change)) != drift_facts(snapshot)


def test_sizes_that_are_not_known_count_nothing_and_the_cost_is_rounded() -> None:
    assert total_gigabytes([at(1, NOW, size=4), at(2, NOW)]) == 4
    assert estimate_monthly_cost(100) == 7.2


def test_the_words_of_consent_say_how_many() -> None:
    assert confirmation_words(1) == "delete 1 snapshot"
    assert confirmation_words(12) == "delete 12 snapshots"
