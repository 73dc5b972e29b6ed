"""Reviews: the findings, and properties of any snapshots and VMs."""

import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapshot_mcp.core.sanitize import is_sanitized
from snapshot_mcp.mcp_server.tools.text.review import render_review as as_text
from snapshot_mcp.models.cloud import MAX_NAME_LENGTH, Snapshot
from snapshot_mcp.models.review import Review
from snapshot_mcp.rules.cost import estimate_monthly_cost
from snapshot_mcp.rules.eligibility import is_stuck
from snapshot_mcp.rules.rehearsal import is_rehearsal, rehearsal_name
from snapshot_mcp.rules.review import GROWTH_DAYS, ReviewedVm, Reviewer
from tests.conftest import count_tokens

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOX = ReviewedVm(5, "box", "ACTIVE", NOW - timedelta(days=90))


def make_snapshot(number: int, days: float | None = 1, **others: Any) -> Snapshot:  # noqa: ANN401 - fields
    """Return a ready snapshot of the VM "box", `days` old."""
    taken = None if days is None else NOW - timedelta(days=days)
    usual = {"status": "SUCCESS", "vm_id": 5, "vm_name": "box", "vm_status": "ACTIVE", "size": 10}
    fields = {"name": f"s{number}", "created_at": taken} | usual | others
    return Snapshot.model_validate({"id": number} | fields)


def make_review(
    snapshots: Iterable[Snapshot],
    vms: Iterable[ReviewedVm] = (BOX,),
    *,
    all_listed: bool = True,
    recent_days: int = 7,
    max_entries: int = 10,
) -> Review:
    reviewer = Reviewer(
        vms, NOW, all_listed=all_listed, recent_days=recent_days, max_entries=max_entries
    )
    for snapshot in snapshots:
        reviewer.add(snapshot)
    return reviewer.review()


def ids(finding: Any) -> list[int]:  # noqa: ANN401 - of snapshots or of VMs
    entries = finding.snapshots if hasattr(finding, "snapshots") else finding.virtual_machines
    return [entry.id for entry in entries]


def test_an_empty_account_has_no_findings() -> None:
    found = make_review([], [])
    assert (found.snapshots, found.size, found.month_cost_estimate) == (0, 0, 0)
    assert as_text(found).count("\n") == 0


def test_a_vm_is_gone_if_its_status_is_deleted_or_it_is_not_listed() -> None:
    deleted = make_snapshot(1, vm_id=6, vm_status="DELETED")
    unlisted = make_snapshot(2, vm_id=7, vm_status=None, size=30)
    alive = [
        make_snapshot(3, vm_status=None),
        make_snapshot(4, vm_id=8, vm_status="ACTIVE"),
        make_snapshot(5, vm_id=None),
    ]
    found = make_review([deleted, unlisted, *alive])
    assert ids(found.vm_gone) == [2, 1]
    assert (found.vm_gone.count, found.vm_gone.size) == (2, 40)
    assert ids(make_review([deleted, unlisted], all_listed=False).vm_gone) == [1]


def test_a_deleted_vm_in_the_list_is_not_reported_as_unprotected() -> None:
    found = make_review([make_snapshot(1, vm_status=None)], [BOX._replace(status="DELETED")])
    assert ids(found.vm_gone) == [1]
    assert (found.virtual_machines, found.no_recent.count) == (0, 0)


def test_failed_snapshots_are_found_and_do_not_protect() -> None:
    found = make_review(
        [
            make_snapshot(1, 1, status="ERROR"),
            make_snapshot(2, 20),
            make_snapshot(3, 1, status="CREATING"),
        ]
    )
    assert ids(found.failed) == [1]
    assert ids(found.no_recent) == [5]
    assert found.no_recent.virtual_machines[0].last_snapshot == NOW - timedelta(days=20)
    assert found.no_recent.virtual_machines[0].ready_snapshots == 1


@pytest.mark.parametrize(
    ("snapshots", "expected"),
    [
        ([make_snapshot(1, 8)], [1]),
        ([make_snapshot(1, 7)], []),  # still recent
        ([make_snapshot(1, 8), make_snapshot(2, 1)], []),
        ([make_snapshot(1, 8), make_snapshot(2, 9)], []),  # it follows another one
        ([make_snapshot(1, 8), make_snapshot(2, 1, status="ERROR")], [1]),
        ([make_snapshot(1, None)], []),
        ([make_snapshot(1, 8, vm_id=None)], []),
        ([make_snapshot(1, 8, vm_status="DELETED")], []),  # reported as an orphan
    ],
)
def test_never_followed_means_the_only_ready_and_not_recent_snapshot_of_a_vm(
    snapshots: list[Snapshot], expected: list[int]
) -> None:
    assert ids(make_review(snapshots).never_followed) == expected


@pytest.mark.parametrize(
    ("snapshots", "recent_days", "expected"),
    [
        ([], 7, [5]),
        ([make_snapshot(1, 7)], 7, []),
        ([make_snapshot(1, 7.01)], 7, [5]),
        ([make_snapshot(1, 7.01)], 8, []),
        ([make_snapshot(1, -1)], 7, []),
        ([make_snapshot(1, 30), make_snapshot(2, None)], 7, []),  # this one may be recent
        ([make_snapshot(1, 1, vm_id=6)], 7, [5]),
    ],
)
def test_vms_without_a_recent_ready_snapshot_are_found(
    snapshots: list[Snapshot], recent_days: int, expected: list[int]
) -> None:
    assert ids(make_review(snapshots, recent_days=recent_days).no_recent) == expected


def test_vms_without_any_snapshot_come_first_then_the_oldest() -> None:
    vms = [BOX._replace(id=number) for number in (1, 2, 3)]
    found = make_review([make_snapshot(1, 20, vm_id=1), make_snapshot(2, 40, vm_id=2)], vms)
    assert ids(found.no_recent) == [3, 2, 1]
    assert "3 box never" in as_text(found)


def test_rehearsal_vms_are_found_oldest_first_and_not_reported_as_unprotected() -> None:
    young = ReviewedVm(8, "rehearsal-b", "ACTIVE", NOW)
    old = ReviewedVm(9, "rehearsal-a", "SHUTOFF", NOW - timedelta(days=3))
    found = make_review([], [young, old])
    assert ids(found.rehearsals) == [9, 8]
    assert found.no_recent.count == 0
    text = as_text(found)
    assert "Rehearsal VMs still there, billed until deleted (delete_rehearsal_vm): 2" in text
    assert "9 rehearsal-a SHUTOFF made 2026-11-17" in text


def test_growth_covers_thirty_days_by_vm_largest_first() -> None:
    snapshots = [
        make_snapshot(1, 31, size=100),
        make_snapshot(2, 30, size=3),
        make_snapshot(3, 1, size=4),
        make_snapshot(4, 1, vm_id=6, vm_name="gone", size=9),
        make_snapshot(5, 40, vm_id=7, size=50),
        make_snapshot(6, None, size=1),
    ]
    found = make_review(snapshots).growth
    assert (found.count, found.size) == (2, 16)
    first, second = found.virtual_machines
    assert (first.vm_id, first.vm_name, first.recent_count, first.recent_size) == (6, "gone", 1, 9)
    assert (second.recent_count, second.recent_size, second.count, second.size) == (2, 7, 4, 108)


def test_an_unknown_size_counts_as_zero_and_is_reported() -> None:
    found = make_review([make_snapshot(1, size=None), make_snapshot(2, size=10)])
    assert (found.size, found.size_not_known) == (10, 1)
    assert "1 are of unknown size" in as_text(found)


def test_a_gigabyte_costs_about_seven_cents_a_month() -> None:
    assert estimate_monthly_cost(1_000) == 72.0
    assert estimate_monthly_cost(0) == 0.0


def test_twenty_findings_cost_at_most_500_tokens_of_text() -> None:
    orphans = [
        make_snapshot(
            1700 + number,
            3 * number,
            vm_id=793_650,
            vm_status="DELETED",
            name=f"trainer-2025-{number}",
        )
        for number in range(5)
    ]
    failed = [
        make_snapshot(1710 + number, number, status="ERROR", name=f"box-nightly-{number}")
        for number in range(5)
    ]
    vms = [
        ReviewedVm(793_700 + number, f"train-a100-{number}", "ACTIVE", NOW) for number in range(5)
    ]
    rehearsals = [
        ReviewedVm(793_800 + number, f"rehearsal-box-{number}", "ACTIVE", NOW)
        for number in range(3)
    ]
    text = as_text(make_review([*orphans, *failed], [*vms, *rehearsals]))
    assert text.count("\n") >= 20 + 4
    assert count_tokens(text) <= 500


def test_untrusted_text_is_quoted_unless_it_is_one_plain_word() -> None:
    odd = 'x" 1 2\\'
    vm = ReviewedVm(5, f"rehearsal-{odd}", odd, None)
    text = as_text(make_review([make_snapshot(1, name=odd, vm_name=odd, status="ERROR")], [vm]))
    assert text.count('"x\\" 1 2\\\\"') == 2
    assert text.count('"rehearsal-x\\" 1 2\\\\"') == 2
    assert odd not in text.replace('\\"', "")


def measure_peak_memory(count: int) -> int:
    """Return the peak memory in bytes of a review of `count` snapshots of five VMs."""
    tracemalloc.start()
    try:
        make_review(
            make_snapshot(number, number % 40, vm_id=number % 5) for number in range(1, count)
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_snapshots() -> None:
    measure_peak_memory(10)  # allocations that happen once
    assert measure_peak_memory(2_000) < 2 * measure_peak_memory(200)


snapshots = st.builds(
    Snapshot,
    id=st.integers(1, 60),
    status=st.sampled_from(["SUCCESS", "SUCCESS", "CREATING", "ERROR", "DELETING", None]),
    vm_id=st.sampled_from([1, 2, 3, 4, None]),
    vm_name=st.sampled_from([None, "a", "b"]),
    vm_status=st.sampled_from([None, "ACTIVE", "DELETED"]),
    size=st.none() | st.integers(0, 100),
    created_at=st.none() | st.integers(-2, 80).map(lambda half: NOW - timedelta(hours=12 * half)),
)
histories = st.lists(snapshots, max_size=30, unique_by=lambda snapshot: snapshot.id)
machines = st.lists(
    st.builds(
        ReviewedVm,
        id=st.integers(1, 6),
        name=st.sampled_from(["a", "rehearsal-a"]),
        status=st.sampled_from([None, "ACTIVE", "DELETING", "DELETED"]),
        obstacle=st.sampled_from([None, None, "it is a node"]),
        created_at=st.none() | st.just(NOW),
    ),
    max_size=6,
    unique_by=lambda snapshot: snapshot.id,
)


@given(histories, machines, st.integers(1, 40), st.integers(1, 5), st.randoms())
def test_the_order_of_snapshots_does_not_matter(
    history: list[Snapshot], vms: list[ReviewedVm], days: int, max_entries: int, dice: Random
) -> None:
    found = make_review(history, vms, recent_days=days, max_entries=max_entries)
    mixed, mixed_vms = list(history), list(vms)
    dice.shuffle(mixed)
    dice.shuffle(mixed_vms)
    assert make_review(mixed, mixed_vms, recent_days=days, max_entries=max_entries) == found


@given(histories, machines, st.integers(1, 40), st.integers(1, 5))
def test_every_finding_matches_a_simple_count(
    history: list[Snapshot], vms: list[ReviewedVm], days: int, max_entries: int
) -> None:
    found = make_review(history, vms, recent_days=days, max_entries=max_entries)
    living = {vm.id for vm in vms if vm.status != "DELETED"}
    left = {vm.id for vm in vms if vm.id in living and is_rehearsal(vm.name)}
    recent = NOW - timedelta(days=days)
    ready = [snapshot for snapshot in history if snapshot.state == "ready"]
    protected = {
        snapshot.vm_id
        for snapshot in ready
        if snapshot.created_at is None or snapshot.created_at >= recent
    }
    grown = [
        snapshot
        for snapshot in history
        if snapshot.created_at and snapshot.created_at >= NOW - timedelta(GROWTH_DAYS)
    ]
    assert found.snapshots == len(history)
    assert found.size == sum(snapshot.size or 0 for snapshot in history)
    assert found.failed.count == sum(snapshot.state == "failed" for snapshot in history)
    assert found.virtual_machines == len(living)
    assert found.rehearsals.count == len(left)
    never = {vm.id for vm in vms if vm.id in living and vm.obstacle is not None}
    assert found.cannot_snapshot.count == len(never)
    deleted_soon = {vm.id for vm in vms if vm.status == "DELETING"}
    assert found.no_recent.count == len(living - left - protected - never - deleted_soon)
    assert found.growth.count == len({snapshot.vm_id for snapshot in grown})
    assert found.growth.size == sum(snapshot.size or 0 for snapshot in grown)
    deleting = {snapshot.id for snapshot in history if snapshot.state == "deleting"}
    assert found.deleting.count == len(deleting)
    assert found.stuck.count == sum(is_stuck(snapshot, NOW) for snapshot in history)
    gone = {snapshot.id for snapshot in history if snapshot.vm_gone}
    lost = {
        snapshot.id
        for snapshot in history
        if not snapshot.vm_status and snapshot.vm_id and snapshot.vm_id not in living
    }
    assert found.vm_gone.count == len((gone | lost) - deleting)


@given(histories, machines, st.integers(1, 5))
def test_findings_are_limited_and_report_the_number_of_other_entries(
    history: list[Snapshot], vms: list[ReviewedVm], max_entries: int
) -> None:
    found = make_review(history, vms, max_entries=max_entries)
    for finding in (found.vm_gone, found.failed, found.never_followed):
        assert len(finding.snapshots) == min(finding.count, max_entries)
        assert len(finding.snapshots) + finding.more == finding.count
        assert finding.size >= sum(snapshot.size or 0 for snapshot in finding.snapshots)
        sizes = [snapshot.size or 0 for snapshot in finding.snapshots]
        assert sizes == sorted(sizes, reverse=True)
    for finding in (found.no_recent, found.rehearsals, found.growth):
        assert len(finding.virtual_machines) == min(finding.count, max_entries)
        assert len(finding.virtual_machines) + finding.more == finding.count


@given(histories, machines)
def test_a_never_followed_snapshot_is_alone_and_its_listed_vm_has_no_recent_one(
    history: list[Snapshot], vms: list[ReviewedVm]
) -> None:
    found = make_review(history, vms, max_entries=60)
    for named in found.never_followed.snapshots:
        alike = [
            snapshot.id
            for snapshot in history
            if snapshot.vm_id == named.vm_id and snapshot.state == "ready"
        ]
        assert alike == [named.id]
        assert named.id not in ids(found.vm_gone)
        listed = {
            vm.id
            for vm in vms
            if vm.status not in ("DELETING", "DELETED")
            and vm.obstacle is None
            and not is_rehearsal(vm.name)
        }
        assert named.vm_id not in listed or named.vm_id in ids(found.no_recent)


plain_names = st.text(min_size=1, max_size=MAX_NAME_LENGTH).filter(is_sanitized)


@example("x" * (MAX_NAME_LENGTH - 11) + " y")
@given(plain_names)
def test_a_rehearsal_name_is_recognized_fits_and_has_one_prefix(name: str) -> None:
    renamed = rehearsal_name(name)
    assert is_rehearsal(renamed)
    assert len(renamed) <= MAX_NAME_LENGTH
    assert is_sanitized(renamed)
    assert rehearsal_name(renamed) == renamed
    truncated = name[: MAX_NAME_LENGTH - 10].rstrip()
    assert renamed == name or renamed.removeprefix("rehearsal-") == truncated
