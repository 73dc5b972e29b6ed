"""States of snapshots and VMs over time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox.entities import from_micros, to_micros

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis takes the time zone separately
DURATIONS = st.timedeltas(timedelta(0), timedelta(seconds=20))
SIZES_GB = st.integers(0, 10_000)
STATUS_ORDER = ("CREATING", "BUILD", "STOPPING", "SHUTOFF", "STARTING", "ACTIVE")


@given(TIMES, SIZES_GB, st.sampled_from(["SUCCESS", "ERROR"]), DURATIONS, DURATIONS)
def test_a_snapshot_never_leaves_its_final_status(
    started_at: datetime, size_gb: int, final_status: str, earlier: timedelta, further: timedelta
) -> None:
    then, later = started_at + earlier, started_at + earlier + further
    statuses = [
        lifecycle.snapshot_status(started_at, size_gb, final_status, time)
        for time in (started_at, then, later, started_at + timedelta(seconds=8))
    ]
    assert statuses[0] == "CREATING"
    assert statuses[-1] == final_status
    if statuses[1] == final_status:
        assert statuses[2] == final_status


@given(TIMES, SIZES_GB, st.none() | DURATIONS, DURATIONS, DURATIONS)
def test_the_update_time_never_decreases_and_is_never_in_the_future(
    started_at: datetime,
    size_gb: int,
    modified_after: timedelta | None,
    earlier: timedelta,
    further: timedelta,
) -> None:
    modified_at = None if modified_after is None else started_at + modified_after
    now = started_at + earlier
    first = lifecycle.snapshot_updated_time(started_at, size_gb, modified_at, now)
    second = lifecycle.snapshot_updated_time(started_at, size_gb, modified_at, now + further)
    assert started_at <= first <= second
    assert first <= now


@given(TIMES, SIZES_GB, DURATIONS)
def test_the_update_time_changes_with_the_status(
    started_at: datetime, size_gb: int, elapsed: timedelta
) -> None:
    now = started_at + elapsed
    creating = lifecycle.snapshot_status(started_at, size_gb, "SUCCESS", now) == "CREATING"
    assert creating == (
        lifecycle.snapshot_updated_time(started_at, size_gb, None, now) == started_at
    )


@given(TIMES, SIZES_GB, DURATIONS, DURATIONS)
def test_an_active_vm_passes_through_its_states_in_order(
    started_at: datetime, size_gb: int, earlier: timedelta, further: timedelta
) -> None:
    times = lifecycle.VmTimes(started_at - timedelta(days=1), "ACTIVE", started_at, size_gb)
    first, second = (
        lifecycle.vm_state(times, started_at + elapsed) for elapsed in (earlier, earlier + further)
    )
    assert STATUS_ORDER.index(first.status) <= STATUS_ORDER.index(second.status)
    assert first.is_snapshotting == (first.status != "ACTIVE")


@given(TIMES, SIZES_GB, DURATIONS)
def test_a_vm_is_off_while_its_snapshot_is_created(
    started_at: datetime, size_gb: int, elapsed: timedelta
) -> None:
    times = lifecycle.VmTimes(started_at - timedelta(days=1), "ACTIVE", started_at, size_gb)
    now = started_at + elapsed
    if lifecycle.snapshot_status(started_at, size_gb, "SUCCESS", now) == "CREATING":
        assert lifecycle.vm_state(times, now).status in {"STOPPING", "SHUTOFF"}


@given(TIMES, SIZES_GB, DURATIONS, st.sampled_from(["SHUTOFF", "HIBERNATED"]))
def test_a_vm_that_is_off_keeps_its_status_and_is_busy_during_its_snapshot(
    started_at: datetime, size_gb: int, elapsed: timedelta, idle_status: str
) -> None:
    times = lifecycle.VmTimes(started_at - timedelta(days=1), idle_status, started_at, size_gb)
    state = lifecycle.vm_state(times, started_at + elapsed)
    status = lifecycle.snapshot_status(started_at, size_gb, "SUCCESS", started_at + elapsed)
    assert state == lifecycle.VmState(idle_status, is_snapshotting=status == "CREATING")


@given(TIMES, DURATIONS, DURATIONS)
def test_a_new_vm_passes_through_its_states_in_order(
    created_at: datetime, earlier: timedelta, further: timedelta
) -> None:
    times = lifecycle.VmTimes(created_at, "ACTIVE")
    first, second = (
        lifecycle.vm_state(times, created_at + elapsed) for elapsed in (earlier, earlier + further)
    )
    assert STATUS_ORDER.index(first.status) <= STATUS_ORDER.index(second.status)


@given(st.integers(1, 100), st.integers(1, 2**63 - 1), st.integers(0, 10_000))
def test_a_snapshot_is_never_larger_than_its_volume_allows(
    volume_gb: int, vm_id: int, earlier: int
) -> None:
    full = lifecycle.snapshot_size_gb(volume_gb, vm_id, 0)
    later = lifecycle.snapshot_size_gb(volume_gb, vm_id, earlier + 1)
    assert 1 <= full <= volume_gb
    assert 2 <= later <= 10


@given(TIMES)
def test_times_are_stored_exactly(time: datetime) -> None:
    assert from_micros(to_micros(time)) == time
