"""Request scheduling: fair slots, the rate limit, the circuit breaker, retries, progress."""

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cloud.circuit_breaker import (
    FAILURE_THRESHOLD,
    MAX_OPEN_SECONDS,
    MIN_OPEN_SECONDS,
    CircuitBreaker,
)
from snapshot_mcp.cloud.fair_queue import FairSemaphore
from snapshot_mcp.cloud.rate_limit import FIRST_PAUSE_SECONDS, LocalRateLimiter, RateLimitBlock
from snapshot_mcp.cloud.retry import (
    MAX_ATTEMPTS,
    MAX_DELAY_SECONDS,
    MAX_RATE_LIMIT_ATTEMPTS,
    retry_until,
)
from snapshot_mcp.cloud.scheduler import RequestScheduler
from snapshot_mcp.core.errors import (
    BadRequestError,
    OutcomeUnknownError,
    RateLimitedError,
    UnavailableError,
)
from snapshot_mcp.core.request_context import CALLER, Caller, ProgressReporter, current_caller
from tests.conftest import ManualClock
from tests.waiting import ANSWER_TIMEOUT_SECONDS

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Listener:
    """A client that records the progress of its call."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float | None, str]] = []
        CALLER.set(Caller("a client", ProgressReporter(self.report)))

    async def report(self, elapsed: float, total: float | None, message: str) -> None:
        self.reports.append((elapsed, total, message))


async def _discard(_elapsed: float, _total: float | None, _message: str) -> None:
    pass


def caller(principal: str, client: str = "a client") -> Caller:
    return Caller(client, ProgressReporter(_discard), principal=principal)


async def test_a_semaphore_limits_concurrency() -> None:
    queue, active, max_active = FairSemaphore(3, 100), 0, 0

    async def work(client: str) -> None:
        nonlocal active, max_active
        async with queue.slot(caller(client)):
            active += 1
            max_active = max(max_active, active)
            await anyio.lowlevel.checkpoint()
            active -= 1

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(work, f"client {number % 4}")
    assert (active, max_active) == (0, 3)


async def test_a_client_with_many_calls_does_not_delay_another_client() -> None:
    queue, order, go = FairSemaphore(1, 100), list[str](), anyio.Event()

    async def work(client: str) -> None:
        async with queue.slot(caller(client)):
            order.append(client)
            await go.wait()

    async with anyio.create_task_group() as group:
        for client in ["first", *["busy"] * 10, "quick", "quick", "slow"]:
            group.start_soon(work, client)
        await anyio.wait_all_tasks_blocked()
        assert order == ["first"]
        go.set()
    assert order[1:6] == ["busy", "quick", "slow", "busy", "quick"]
    assert Counter(order) == {"first": 1, "busy": 10, "quick": 2, "slow": 1}


@given(st.lists(st.sampled_from(["come", "come", "go", "cancel"]), max_size=40), st.randoms())
def test_slots_are_never_lost_or_granted_twice_when_waiters_are_cancelled(
    steps: list[str], random: Random
) -> None:
    async def run() -> None:
        queue, active = FairSemaphore(2, 100), 0
        calls: list[tuple[anyio.CancelScope, anyio.Event]] = []

        async def work(scope: anyio.CancelScope, done: anyio.Event) -> None:
            nonlocal active
            with scope:
                async with queue.slot(caller(str(random.randint(1, 3)))):
                    active += 1
                    assert active <= 2
                    try:
                        await done.wait()
                    finally:
                        active -= 1

        async with anyio.create_task_group() as group:
            for step in steps:
                if step == "come":
                    calls.append((anyio.CancelScope(), anyio.Event()))
                    group.start_soon(work, *calls[-1])
                elif calls:
                    scope, done = random.choice(calls)
                    scope.cancel() if step == "cancel" else done.set()
                if random.random() < 0.7:
                    await anyio.wait_all_tasks_blocked()
            for _, done in calls:
                done.set()
        async with queue.slot(caller("a")), queue.slot(caller("b")):
            assert active == 0

    anyio.run(run)


async def test_a_slot_granted_at_the_moment_of_a_cancellation_is_passed_on() -> None:
    queue, scope = FairSemaphore(1, 100), anyio.CancelScope()

    async def give_up() -> None:
        with scope:
            async with queue.slot(caller("b")):
                raise AssertionError

    async with anyio.create_task_group() as group, queue.slot(caller("a")):
        group.start_soon(give_up)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        async with queue.slot(caller("c")):
            assert scope.cancelled_caught


async def test_the_queue_has_a_limit_for_each_principal() -> None:
    queue = FairSemaphore(1, 2, "changes")

    async def hold(principal: str, client: str) -> None:
        async with queue.slot(caller(principal, client)):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        for client in ("first", "second", "third"):
            group.start_soon(hold, "a", client)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(UnavailableError, match="2 changes of yours") as raised:
            async with queue.slot(caller("a", "fourth")):
                pass
        assert raised.value.retry_after
        group.start_soon(hold, "b", "first")
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    async with queue.slot(caller("b")):
        pass


async def test_a_principal_with_many_clients_has_one_turn_of_each_round() -> None:
    queue, order, go = FairSemaphore(1, 100), list[str](), anyio.Event()

    async def work(principal: str, client: str) -> None:
        async with queue.slot(caller(principal, client)):
            order.append(f"{principal}{client}")
            await go.wait()

    async with anyio.create_task_group() as group:
        for name in ["x0", "a1", "a1", "a2", "a3", "b1", "b1"]:
            group.start_soon(work, name[0], name[1])
            await anyio.wait_all_tasks_blocked()
        go.set()
    assert order == ["x0", "a1", "b1", "a2", "b1", "a3", "a1"]


def open_circuit(circuit: CircuitBreaker) -> None:
    for _ in range(FAILURE_THRESHOLD):
        circuit.record_failure(0, NOON)


def test_a_circuit_opens_after_several_failures_in_a_row() -> None:
    circuit = CircuitBreaker()
    for _ in range(FAILURE_THRESHOLD - 1):
        circuit.record_failure(0, NOON)
    assert circuit.admit(0) is None
    circuit.record_success()
    assert circuit.failing_since is None
    open_circuit(circuit)
    outage = circuit.admit(1)
    assert outage is not None
    assert (outage.since, outage.retry_in_seconds) == (NOON, MIN_OPEN_SECONDS - 1)
    assert circuit.failing_since == NOON


def test_one_probe_decides_whether_the_circuit_closes() -> None:
    circuit = CircuitBreaker()
    open_circuit(circuit)
    assert circuit.admit(MIN_OPEN_SECONDS) is None
    assert circuit.admit(MIN_OPEN_SECONDS) is not None
    circuit.record_cancellation()
    assert circuit.admit(MIN_OPEN_SECONDS) is None
    circuit.record_failure(MIN_OPEN_SECONDS, NOON)
    outage = circuit.current_outage(MIN_OPEN_SECONDS)
    assert outage is not None
    assert outage.retry_in_seconds == 2 * MIN_OPEN_SECONDS
    assert circuit.admit(3 * MIN_OPEN_SECONDS) is None
    circuit.record_success()
    assert circuit.current_outage(0) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["fail", "succeed", "ask", "abandon"]), st.floats(0, 50)),
        max_size=60,
    )
)
def test_a_circuit_always_recovers_and_never_admits_two_probes(
    steps: list[tuple[str, float]],
) -> None:
    circuit, now = CircuitBreaker(), 0.0
    for step, passed in steps:
        now += passed
        match step:
            case "fail":
                circuit.record_failure(now, NOON)
            case "succeed":
                circuit.record_success()
                assert circuit.admit(now) is None
            case "abandon":
                circuit.record_cancellation()
            case _:
                was_open = circuit.current_outage(now + 2 * MAX_OPEN_SECONDS) is not None
                tried = circuit.admit(now)
                assert was_open <= (tried is not None)
                if circuit.failing_since is not None and tried is None:
                    outage = circuit.current_outage(now)
                    assert outage is None or outage.retry_in_seconds <= MAX_OPEN_SECONDS
        outage = circuit.current_outage(now)
        assert outage is None or outage.retry_in_seconds <= MAX_OPEN_SECONDS
    circuit.record_cancellation()
    assert circuit.admit(now + MAX_OPEN_SECONDS) is None


async def test_reads_leave_part_of_the_limit_to_writes() -> None:
    manual_clock, listener = ManualClock(), Listener()
    scheduler = RequestScheduler(
        manual_clock.clock, CircuitBreaker(), LocalRateLimiter(manual_clock.clock, 10, 3)
    )
    started = manual_clock.monotonic()
    for _ in range(7):
        async with scheduler.read_slot():
            pass
    for _ in range(3):
        async with scheduler.write_slot():
            pass
    assert (manual_clock.monotonic(), listener.reports) == (started, [])
    async with scheduler.read_slot():
        pass
    assert 59 <= manual_clock.monotonic() - started <= 61
    assert "limit" in listener.reports[0][2]


def act_as(principal: str, *, is_changing: bool = False) -> None:
    """Continue as a client of this principal."""
    CALLER.set(caller(principal)._replace(is_changing=is_changing))


async def count_reads(scheduler: RequestScheduler, principal: str) -> int:
    """Return the number of reads that a principal is permitted at this moment."""
    act_as(principal)
    for number in range(1_000):
        try:
            with anyio.fail_after(5):
                async with scheduler.read_slot():
                    pass
        except RateLimitedError as error:
            return number if 0 < (error.retry_after or 0) <= 60 else -1
    return -1


@given(st.integers(1, 4), st.integers(40, 80))
def test_greedy_principals_leave_requests_to_another(number: int, limit: int) -> None:
    async def run() -> None:
        clock = ManualClock()
        scheduler = RequestScheduler(
            clock.clock, CircuitBreaker(), LocalRateLimiter(clock.clock, limit + 5, 5)
        )
        used = [await count_reads(scheduler, str(principal)) for principal in range(number)]
        assert used[0] in {limit // 2, limit // 2 + 1}
        assert sum(used) < limit
        assert await count_reads(scheduler, "another") >= (limit - sum(used)) // 2 >= 1
        clock.advance(seconds=61)
        assert await count_reads(scheduler, "0") == used[0]

    anyio.run(run)


async def test_a_short_wait_for_a_share_is_reported_and_takes_no_slot() -> None:
    clock, listener = ManualClock(), Listener()
    scheduler = RequestScheduler(
        clock.clock, CircuitBreaker(), LocalRateLimiter(clock.clock, 25, 5)
    )
    started = clock.monotonic()
    assert await count_reads(scheduler, "a") == 10
    CALLER.set(Caller("a client", ProgressReporter(listener.report), principal="a"))
    async with scheduler.read_slot():
        assert clock.monotonic() - started >= 59
    assert listener.reports[0][2].startswith("Your share of the cloud's request limit is used up")


async def test_many_waiting_requests_ask_once_for_their_share() -> None:
    clock, asked = ManualClock(), list[str]()

    class CountingLimiter(LocalRateLimiter):
        async def seconds_until_share(self, principal: str) -> float:
            asked.append(principal)
            return await super().seconds_until_share(principal)

    scheduler = RequestScheduler(clock.clock, CircuitBreaker(), CountingLimiter(clock.clock, 25, 5))
    assert await count_reads(scheduler, "a") == 10
    asked.clear()
    for _ in range(50):
        assert await count_reads(scheduler, "a") == 0
    assert asked == []


async def test_a_change_in_progress_needs_no_share_and_may_use_the_reserve() -> None:
    clock = ManualClock()
    scheduler = RequestScheduler(
        clock.clock, CircuitBreaker(), LocalRateLimiter(clock.clock, 25, 5)
    )
    started = clock.monotonic()
    assert [await count_reads(scheduler, name) for name in "abcd"] == [10, 5, 3, 1]
    with pytest.raises(RateLimitedError), anyio.fail_after(5):
        await scheduler.wait_for_share()
    act_as("a", is_changing=True)
    for _ in range(5):
        async with scheduler.read_slot():
            pass
    await scheduler.wait_for_share()
    assert clock.monotonic() == started


async def test_a_user_of_this_machine_has_the_whole_limit() -> None:
    clock = ManualClock()
    scheduler = RequestScheduler(
        clock.clock, CircuitBreaker(), LocalRateLimiter(clock.clock, 25, 5)
    )
    started = clock.monotonic()
    for _ in range(20):
        async with scheduler.read_slot():
            pass
    assert clock.monotonic() == started


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=80), st.integers(1, 12))
def test_no_minute_has_more_requests_than_the_limit(
    steps: list[tuple[bool, float]], limit: int
) -> None:
    async def run() -> list[float]:
        manual_clock, sent_at = ManualClock(), list[float]()
        scheduler = RequestScheduler(
            manual_clock.clock, CircuitBreaker(), LocalRateLimiter(manual_clock.clock, limit + 1, 1)
        )
        for is_write, seconds in steps:
            manual_clock.advance(seconds=seconds)
            async with scheduler.write_slot() if is_write else scheduler.read_slot():
                sent_at.append(manual_clock.monotonic())
        return sent_at

    sent_at = anyio.run(run)
    assert len(sent_at) == len(steps)
    for index, time in enumerate(sent_at):
        # The limiter has a resolution of one millisecond.
        assert sum(time <= other < time + 59.99 for other in sent_at[index:]) <= limit + 1


async def exchange(
    scheduler: RequestScheduler, status: int | None, error: Exception | None = None
) -> None:
    """Send a request that is answered with a status, or fails."""
    async with scheduler.circuit_guard() as current:
        current.status = status
        if error is not None:
            raise error


async def test_requests_fail_fast_while_the_cloud_is_down() -> None:
    manual_clock, circuit = ManualClock(), CircuitBreaker()
    scheduler = RequestScheduler(manual_clock.clock, circuit)
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(httpx.ReadError):
            await exchange(scheduler, None, httpx.ReadError("x"))
    for turn in (scheduler.read_slot, scheduler.write_slot, scheduler.circuit_guard):
        with pytest.raises(
            UnavailableError, match="not answered since 2026-11-20 12:00:00"
        ) as caught:
            async with turn():
                pass
        assert caught.value.retry_after == MIN_OPEN_SECONDS
        assert not caught.value.transient
    manual_clock.advance(seconds=MIN_OPEN_SECONDS)
    async with scheduler.read_slot():
        await exchange(scheduler, 200)
    assert circuit.failing_since is None


async def test_the_circuit_learns_from_the_result_of_a_request() -> None:
    circuit = CircuitBreaker()
    scheduler = RequestScheduler(ManualClock().clock, circuit)

    async def fails_after(status: int | None) -> bool:
        with pytest.raises(ZeroDivisionError):
            await exchange(scheduler, status, ZeroDivisionError())
        return circuit.failing_since is not None

    assert await fails_after(None)
    assert not await fails_after(400)  # an answer is an answer, even if it cannot be decoded
    assert not await fails_after(500)
    assert await fails_after(None)
    assert await fails_after(500)  # neither a success nor another failure
    with anyio.CancelScope() as scope:
        async with scheduler.circuit_guard():
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert circuit.failing_since is not None


async def test_a_server_error_keeps_an_open_circuit_open() -> None:
    manual_clock, circuit = ManualClock(), CircuitBreaker()
    scheduler = RequestScheduler(manual_clock.clock, circuit)
    for _ in range(FAILURE_THRESHOLD):
        scheduler.record_failure()
    manual_clock.advance(seconds=MIN_OPEN_SECONDS)
    await exchange(scheduler, 503)
    with pytest.raises(UnavailableError) as caught:
        await exchange(scheduler, 200)
    assert caught.value.retry_after == 2 * MIN_OPEN_SECONDS


async def test_a_429_pauses_all_requests_for_at_most_a_minute() -> None:
    manual_clock = ManualClock()
    scheduler = RequestScheduler(manual_clock.clock, CircuitBreaker())
    async with scheduler.circuit_guard() as refused:
        refused.status = 429
    assert scheduler.record_rate_limit(refused, 3_600) == 3_600
    for turn in (scheduler.read_slot, scheduler.write_slot, scheduler.circuit_guard):
        with pytest.raises(RateLimitedError, match="Try again in 60 s") as caught:
            async with turn():
                pass
        assert caught.value.transient
    manual_clock.advance(seconds=60)
    await exchange(scheduler, 200)


def test_the_pauses_after_429_double_from_4_s_and_cover_a_minute() -> None:
    block, now = RateLimitBlock(), 100.0
    pauses = list[float]()
    for _ in range(5):
        sent_at = now
        pauses.append(block.record_refusal(sent_at, now, None))
        # Requests that were under way at the same time do not prolong the pause.
        assert block.record_refusal(sent_at, now, None) == pauses[-1]
        assert block.remaining(now + pauses[-1] - 0.1) > 0
        now += pauses[-1]
        assert block.remaining(now) == 0
    assert pauses == [4, 8, 16, 32, 32]
    assert sum(pauses[: MAX_RATE_LIMIT_ATTEMPTS - 1]) >= 60
    now += 61
    assert block.record_refusal(now, now, None) == FIRST_PAUSE_SECONDS


def test_a_pause_that_was_too_short_is_doubled() -> None:
    block = RateLimitBlock()
    assert block.record_refusal(100, 100, 2) == 2
    assert block.remaining(101) == 1
    assert block.record_refusal(102, 102, 0) == 2


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.floats(0, 90), st.floats(0, 5), st.none() | st.floats(0, 90_000)
        ),
        max_size=40,
    )
)
def test_a_pause_is_never_shorter_than_requested_or_longer_than_a_minute(
    steps: list[tuple[bool, float, float, float | None]],
) -> None:
    block, now = RateLimitBlock(), 0.0
    for refused, passed, duration, retry_after in steps:
        sent_at = now + passed
        now = sent_at + duration
        if refused:
            assert block.record_refusal(sent_at, now, retry_after) >= max(retry_after or 0, 1)
            assert block.remaining(now) >= min(retry_after or 0, 60) - 1e-6
        assert block.remaining(now) <= 60 + 1e-6


async def test_a_transient_failure_is_retried_with_growing_pauses_and_progress() -> None:
    manual_clock, listener, tries = ManualClock(), Listener(), list[float]()

    async def attempt() -> None:
        tries.append(manual_clock.monotonic())
        raise UnavailableError("x", transient=True)

    with pytest.raises(UnavailableError):
        await retry_until(attempt, manual_clock.clock, max_seconds=60)
    assert len(tries) == MAX_ATTEMPTS
    assert tries[-1] - tries[0] <= MAX_ATTEMPTS * MAX_DELAY_SECONDS
    assert len(listener.reports) == MAX_ATTEMPTS - 1
    progress = [elapsed for elapsed, _, _ in listener.reports]
    assert progress == sorted(set(progress))


@pytest.mark.parametrize(
    "error", [UnavailableError("x"), BadRequestError("x"), OutcomeUnknownError("x")]
)
async def test_a_permanent_failure_is_not_retried(error: Exception) -> None:
    tries: list[None] = []

    async def attempt() -> None:
        tries.append(None)
        raise error

    with pytest.raises(type(error)):
        await retry_until(attempt, ManualClock().clock, max_seconds=60)
    assert len(tries) == 1


@pytest.mark.parametrize(("retry_after", "tries"), [(20.0, 2), (63.0, 2), (66.0, 1), (86_400.0, 1)])
async def test_retry_after_is_followed_if_the_time_allows(retry_after: float, tries: int) -> None:
    manual_clock, started = ManualClock(), list[float]()

    async def attempt() -> str:
        started.append(manual_clock.monotonic())
        if len(started) == 2:
            return "done"
        raise RateLimitedError("x", retry_after=retry_after, transient=True)

    if tries == 1:
        with pytest.raises(RateLimitedError) as caught:
            await retry_until(attempt, manual_clock.clock, max_seconds=60)
        assert caught.value.retry_after == retry_after
    else:
        assert await retry_until(attempt, manual_clock.clock, max_seconds=60) == "done"
        assert retry_after <= started[1] - started[0] <= retry_after + MAX_DELAY_SECONDS
    assert len(started) == tries


@pytest.mark.parametrize(("seconds", "succeeds"), [(20, True), (60, True), (70, False)])
async def test_a_block_without_retry_after_is_survived_up_to_a_minute(
    seconds: int, *, succeeds: bool
) -> None:
    manual_clock, block, sent_at = ManualClock(), RateLimitBlock(), list[float]()
    started = manual_clock.monotonic()

    async def attempt() -> str:
        now = manual_clock.monotonic()
        sent_at.append(now)
        if now - started < seconds:
            raise RateLimitedError(
                "x", retry_after=block.record_refusal(now, now, None), transient=True
            )
        return "done"

    if succeeds:
        assert await retry_until(attempt, manual_clock.clock, max_seconds=1) == "done"
    else:
        with pytest.raises(RateLimitedError):
            await retry_until(attempt, manual_clock.clock, max_seconds=1)
    assert len(sent_at) <= MAX_RATE_LIMIT_ATTEMPTS
    pauses = [later - earlier for earlier, later in pairwise(sent_at)]
    assert all(pause >= 1 for pause in pauses)
    assert all(later > 1.5 * earlier for earlier, later in pairwise(pauses))


async def test_progress_values_only_increase() -> None:
    listener = Listener()
    reporter = current_caller().progress
    await reporter.report(0, 30, "started")
    await reporter.report_delay("busy")
    await reporter.report(0, 30, "started again")
    await reporter.report(5, 30, "later")
    await reporter.report_delay("busy again")
    progress = [elapsed for elapsed, _, _ in listener.reports]
    assert progress == sorted(set(progress))
    assert [total for _, total, _ in listener.reports] == [30, None, 30, 30, None]


async def test_work_without_a_caller_reports_no_progress() -> None:
    CALLER.set(None)
    caller = current_caller()
    await caller.progress.report_delay("not reported")
    assert caller.client_id == ""
