"""Retention batches: their content, the facts they depend on, and obstacles."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.rules.cost import estimate_monthly_cost
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.rules.retention_batch import (
    confirmation_words,
    count_needed_copies,
    deletion_obstacle,
    drift_facts,
    kept_copies,
    may_delete_last_copy,
    plan_batch,
    total_gigabytes,
)
from snapshot_mcp.rules.retention_policy import RetentionPolicy
from tests.unit.rules.retention_helpers import NOW, at, decide
from tests.unit.rules.retention_strategies import histories, policies

EMPTY = Policy()


def policy(**sections: dict[str, object]) -> Policy:
    return Policy.model_validate(sections)


@given(histories, policies, st.integers(0, 12))
def test_a_batch_has_the_oldest_deletions_and_each_decision_once(
    history: list[Snapshot], chosen: RetentionPolicy, max_deletions: int
) -> None:
    decisions = decide(history, chosen)
    batch = plan_batch(decisions, max_deletions)
    deletions = {decision.snapshot.id for decision in decisions if not decision.keep}
    decided_ids = sorted(decision.snapshot.id for decision in batch.decisions)
    assert decided_ids == sorted(snapshot.id for snapshot in history)
    assert batch.delete_count == min(max_deletions, len(deletions)) == len(batch.to_delete)
    assert batch.delete_count + batch.postponed_count == len(deletions)
    kept = [decision.keep for decision in batch.decisions]
    assert kept == [False] * batch.delete_count + [True] * (len(kept) - batch.delete_count)
    postponed = deletions - {snapshot.id for snapshot in batch.to_delete}
    times = [snapshot.created_at for snapshot in batch.to_delete if snapshot.created_at]
    postponed_times = [
        snapshot.created_at
        for snapshot in history
        if snapshot.id in postponed and snapshot.created_at
    ]
    assert times == sorted(times)
    assert not times or not postponed_times or times[-1] <= min(postponed_times)


@given(histories, policies)
def test_planned_deletions_are_allowed_while_nothing_changes(
    history: list[Snapshot], chosen: RetentionPolicy
) -> None:
    batch = plan_batch(decide(history, chosen), 50)
    deleted_ids = {snapshot.id for snapshot in batch.to_delete}
    for snapshot in batch.to_delete:
        copies = kept_copies(snapshot, history, deleted_ids)
        assert deleted_ids.isdisjoint(copy.id for copy in copies)
        needed = copies[: count_needed_copies(EMPTY)]
        assert deletion_obstacle(EMPTY, snapshot, needed, NOW) is None
        obstacle = deletion_obstacle(EMPTY, snapshot, [], NOW)
        assert obstacle == "it may be the newest ready copy of its VM now"


def test_the_policy_determines_the_number_of_copies_to_check() -> None:
    history = [at(number, NOW - timedelta(days=number)) for number in range(1, 7)]
    oldest = history[-1]
    assert [copy.id for copy in kept_copies(oldest, history, {3, 6})] == [1, 2, 4, 5]
    assert count_needed_copies(EMPTY) == 1
    assert count_needed_copies(policy(protect={"keep_newest": 3})) == 3
    free = policy(retention={"may_delete_last_copy": True})
    assert count_needed_copies(free) == 0
    assert deletion_obstacle(free, oldest, [], NOW) is None


@pytest.mark.parametrize(
    ("sections", "may"),
    [
        ({}, False),
        ({"retention": {"may_delete_last_copy": True}}, True),
        ({"retention": {"may_delete_last_copy": True}, "protect": {"keep_last_copy": True}}, False),
    ],
)
def test_the_last_copy_may_be_deleted_only_if_no_operator_rule_keeps_it(
    *, sections: dict[str, dict[str, object]], may: bool
) -> None:
    assert may_delete_last_copy(policy(**sections)) is may


def test_a_failed_copy_or_one_of_another_vm_does_not_count() -> None:
    old, new = at(1, NOW - timedelta(days=2)), at(2, NOW - timedelta(days=1))
    assert deletion_obstacle(EMPTY, old, [new], NOW) is None
    for change in ({"status": "ERROR"}, {"vm_id": 6}, {"created_at": None}):
        changed = new.model_copy(update=change)
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
def test_a_change_of_any_fact_of_a_plan_is_detected(change: dict[str, object]) -> None:
    snapshot = at(1, NOW - timedelta(days=1))
    assert drift_facts(snapshot.model_copy(update=change)) != drift_facts(snapshot)


def test_unknown_sizes_count_as_zero_and_the_cost_is_rounded() -> None:
    assert total_gigabytes([at(1, NOW, size=4), at(2, NOW)]) == 4
    assert estimate_monthly_cost(100) == 7.2


def test_the_confirmation_words_contain_the_number() -> None:
    assert confirmation_words(1) == "delete 1 snapshot"
    assert confirmation_words(12) == "delete 12 snapshots"
