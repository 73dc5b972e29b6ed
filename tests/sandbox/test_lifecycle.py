"""The states of snapshots and VMs as time goes by."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.sandbox import lifecycle
from snapshot_mcp.sandbox.entities import from_micros, to_micros

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis takes the zone beside it
SPANS = st.timedeltas(timedelta(0), timedelta(seconds=20))
GIGABYTES = st.integers(0, 10_000)
ORDER = ("CREATING", "BUILD", "STOPPING", "SHUTOFF", "STARTING", "ACTIVE")


@given(MOMENTS, GIGABYTES, st.sampled_from(["SUCCESS", "ERROR"]), SPANS, SPANS)
def test_a_snapshot_never_leaves_its_outcome(
    began: datetime, gigabytes: int, outcome: str, earlier: timedelta, more: timedelta
) -> None:
    then, later = began + earlier, began + earlier + more
    statuses = [
        lifecycle.snapshot_status(began, gigabytes, outcome, moment)
        for moment in (began, then, later, began + timedelta(seconds=8))
    ]
    assert statuses[0] == "CREATING"
    assert statuses[-1] == outcome
    if statuses[1] == outcome:
        assert statuses[2] == outcome


@given(MOMENTS, GIGABYTES, st.none() | SPANS, SPANS, SPANS)
def test_the_time_of_the_last_change_never_goes_back_and_never_lies_ahead(
    began: datetime, gigabytes: int, touched: timedelta | None, earlier: timedelta, more: timedelta
) -> None:
    touch = None if touched is None else began + touched
    now = began + earlier
    first = lifecycle.snapshot_updated_time(began, gigabytes, touch, now)
    second = lifecycle.snapshot_updated_time(began, gigabytes, touch, now + more)
    assert began <= first <= second
    assert first <= now


@given(MOMENTS, GIGABYTES, SPANS)
def test_the_time_of_the_last_change_moves_with_the_status(
    began: datetime, gigabytes: int, span: timedelta
) -> None:
    now = began + span
    creating = lifecycle.snapshot_status(began, gigabytes, "SUCCESS", now) == "CREATING"
    assert creating == (lifecycle.snapshot_updated_time(began, gigabytes, None, now) == began)


@given(MOMENTS, GIGABYTES, SPANS, SPANS)
def test_an_active_vm_goes_through_its_states_in_order(
    began: datetime, gigabytes: int, earlier: timedelta, more: timedelta
) -> None:
    times = lifecycle.VmTimes(began - timedelta(days=1), "ACTIVE", began, gigabytes)
    first, second = (lifecycle.vm_state(times, began + span) for span in (earlier, earlier + more))
    assert ORDER.index(first.status) <= ORDER.index(second.status)
    assert first.is_snapshotting == (first.status != "ACTIVE")


@given(MOMENTS, GIGABYTES, SPANS)
def test_a_vm_is_off_whenever_its_snapshot_is_read(
    began: datetime, gigabytes: int, span: timedelta
) -> None:
    times = lifecycle.VmTimes(began - timedelta(days=1), "ACTIVE", began, gigabytes)
    now = began + span
    if lifecycle.snapshot_status(began, gigabytes, "SUCCESS", now) == "CREATING":
        assert lifecycle.vm_state(times, now).status in {"STOPPING", "SHUTOFF"}


@given(MOMENTS, GIGABYTES, SPANS, st.sampled_from(["SHUTOFF", "HIBERNATED"]))
def test_a_vm_that_is_off_stays_as_it_is_and_is_busy_while_the_snapshot_is_made(
    began: datetime, gigabytes: int, span: timedelta, resting: str
) -> None:
    times = lifecycle.VmTimes(began - timedelta(days=1), resting, began, gigabytes)
    state = lifecycle.vm_state(times, began + span)
    status = lifecycle.snapshot_status(began, gigabytes, "SUCCESS", began + span)
    assert state == lifecycle.VmState(resting, is_snapshotting=status == "CREATING")


@given(MOMENTS, SPANS, SPANS)
def test_a_new_vm_goes_through_its_states_in_order(
    born: datetime, earlier: timedelta, more: timedelta
) -> None:
    times = lifecycle.VmTimes(born, "ACTIVE")
    first, second = (lifecycle.vm_state(times, born + span) for span in (earlier, earlier + more))
    assert ORDER.index(first.status) <= ORDER.index(second.status)


@given(st.integers(1, 100), st.integers(1, 2**63 - 1), st.integers(0, 10_000))
def test_a_snapshot_is_never_larger_than_its_volume_allows(
    volume: int, vm_id: int, earlier: int
) -> None:
    full = lifecycle.snapshot_size_gb(volume, vm_id, 0)
    later = lifecycle.snapshot_size_gb(volume, vm_id, earlier + 1)
    assert 1 <= full <= volume
    assert 2 <= later <= 10


@given(MOMENTS)
def test_times_are_stored_exactly(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment
