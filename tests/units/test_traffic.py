"""What may leave for the cloud, and when: turns, the limit a minute, the circuit, the news."""

from collections import Counter
from datetime import UTC, datetime
from random import Random

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cloud import fair_queue as turns
from snapshot_mcp.cloud.circuit_breaker import (
    FAILURE_THRESHOLD,
    MAX_OPEN_SECONDS,
    MIN_OPEN_SECONDS,
    CircuitBreaker,
)
from snapshot_mcp.cloud.fair_queue import FairSemaphore
from snapshot_mcp.cloud.rate_limit import LocalRateLimiter
from snapshot_mcp.cloud.retry import MAX_ATTEMPTS, MAX_DELAY_SECONDS, retry_until
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
    """A client that hears the news of its call."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, float | None, str]] = []
        CALLER.set(Caller("a client", ProgressReporter(self.report)))

    async def report(self, waited: float, total: float | None, line: str) -> None:
        self.heard.append((waited, total, line))


async def test_no_more_than_a_number_have_a_turn_at_the_same_time() -> None:
    queue, having, most = FairSemaphore(3), 0, 0

    async def work(client: str) -> None:
        nonlocal having, most
        async with queue.slot(client):
            having += 1
            most = max(most, having)
            await anyio.lowlevel.checkpoint()
            having -= 1

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(work, f"client {number % 4}")
    assert (having, most) == (0, 3)


async def test_a_client_with_many_calls_does_not_keep_another_one_waiting() -> None:
    queue, order, go = FairSemaphore(1), list[str](), anyio.Event()

    async def work(client: str) -> None:
        async with queue.slot(client):
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
def test_turns_are_never_lost_nor_given_twice_whoever_gives_up(
    steps: list[str], random: Random
) -> None:
    async def run() -> None:
        queue, having = FairSemaphore(2), 0
        calls: list[tuple[anyio.CancelScope, anyio.Event]] = []

        async def work(scope: anyio.CancelScope, done: anyio.Event) -> None:
            nonlocal having
            with scope:
                async with queue.slot(str(random.randint(1, 3))):
                    having += 1
                    assert having <= 2
                    try:
                        await done.wait()
                    finally:
                        having -= 1

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
        async with queue.slot("a"), queue.slot("b"):
            assert having == 0

    anyio.run(run)


async def test_a_turn_that_comes_in_the_moment_of_a_cancellation_is_passed_on() -> None:
    queue, scope = FairSemaphore(1), anyio.CancelScope()

    async def give_up() -> None:
        with scope:
            async with queue.slot("b"):
                raise AssertionError

    async with anyio.create_task_group() as group, queue.slot("a"):
        group.start_soon(give_up)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
    with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
        async with queue.slot("c"):
            assert scope.cancelled_caught


async def test_a_queue_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING", 1)
    queue = FairSemaphore(1)

    async def hold() -> None:
        async with queue.slot("a"):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        group.start_soon(hold)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(UnavailableError, match="busy"):
            async with queue.slot("b"):
                pass
        group.cancel_scope.cancel()


def opened(circuit: CircuitBreaker) -> None:
    for _ in range(FAILURE_THRESHOLD):
        circuit.record_failure(0, NOON)


def test_a_circuit_opens_after_a_few_failures_in_a_row() -> None:
    circuit = CircuitBreaker()
    for _ in range(FAILURE_THRESHOLD - 1):
        circuit.record_failure(0, NOON)
    assert circuit.admit(0) is None
    circuit.record_success()
    assert circuit.failing_since is None
    opened(circuit)
    outage = circuit.admit(1)
    assert outage is not None
    assert (outage.since, outage.retry_in_seconds) == (NOON, MIN_OPEN_SECONDS - 1)
    assert circuit.failing_since == NOON


def test_one_request_tries_after_the_rest_and_what_comes_of_it_decides() -> None:
    circuit = CircuitBreaker()
    opened(circuit)
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
def test_a_circuit_is_never_closed_for_good_and_never_lets_two_try(
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


async def test_reads_leave_a_part_of_the_limit_to_writes() -> None:
    turned, listener = ManualClock(), Listener()
    traffic = RequestScheduler(
        turned.clock, CircuitBreaker(), LocalRateLimiter(turned.clock, 10, 3)
    )
    begun = turned.elapsed()
    for _ in range(7):
        async with traffic.read_slot():
            pass
    for _ in range(3):
        async with traffic.write_slot():
            pass
    assert (turned.elapsed(), listener.heard) == (begun, [])
    async with traffic.read_slot():
        pass
    assert 59 <= turned.elapsed() - begun <= 61
    assert "limit" in listener.heard[0][2]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=80), st.integers(1, 12))
def test_no_minute_ever_sees_more_requests_than_the_limit(
    steps: list[tuple[bool, float]], limit: int
) -> None:
    async def run() -> list[float]:
        turned, left = ManualClock(), list[float]()
        traffic = RequestScheduler(
            turned.clock, CircuitBreaker(), LocalRateLimiter(turned.clock, limit + 1, 1)
        )
        for writing, passed in steps:
            turned.turn(seconds=passed)
            async with traffic.write_slot() if writing else traffic.read_slot():
                left.append(turned.elapsed())
        return left

    left = anyio.run(run)
    assert len(left) == len(steps)
    for place, moment in enumerate(left):
        # A thousandth of a second is the smallest that the limiter knows.
        assert sum(moment <= it < moment + 59.99 for it in left[place:]) <= limit + 1


async def test_nobody_waits_for_a_cloud_that_is_down() -> None:
    turned, circuit = ManualClock(), CircuitBreaker()
    traffic = RequestScheduler(turned.clock, circuit)
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(UnavailableError):
            async with traffic.circuit_guard():
                raise UnavailableError("x")
    for turn in (traffic.read_slot, traffic.write_slot, traffic.circuit_guard):
        with pytest.raises(
            UnavailableError, match="not answered since 2026-11-20 12:00:00"
        ) as caught:
            async with turn():
                pass
        assert caught.value.retry_after == MIN_OPEN_SECONDS
        assert not caught.value.transient
    turned.turn(seconds=MIN_OPEN_SECONDS)
    async with traffic.read_slot(), traffic.circuit_guard():
        pass
    assert circuit.failing_since is None


async def test_the_circuit_learns_from_what_comes_of_a_request() -> None:
    circuit = CircuitBreaker()
    traffic = RequestScheduler(ManualClock().clock, circuit)

    async def see(error: Exception) -> bool:
        with pytest.raises(type(error)):
            async with traffic.circuit_guard():
                raise error
        return circuit.failing_since is not None

    assert await see(OutcomeUnknownError("lost"))
    assert not await see(BadRequestError("an answer is an answer"))
    assert await see(UnavailableError("down"))
    with anyio.CancelScope() as scope:
        async with traffic.circuit_guard():
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert circuit.failing_since is not None


async def test_what_may_pass_is_tried_a_few_times_with_growing_pauses_and_news() -> None:
    turned, listener, tries = ManualClock(), Listener(), list[float]()

    async def attempt() -> None:
        tries.append(turned.elapsed())
        raise UnavailableError("x", transient=True)

    with pytest.raises(UnavailableError):
        await retry_until(attempt, turned.clock, max_seconds=60)
    assert len(tries) == MAX_ATTEMPTS
    assert tries[-1] - tries[0] <= MAX_ATTEMPTS * MAX_DELAY_SECONDS
    assert len(listener.heard) == MAX_ATTEMPTS - 1
    progress = [waited for waited, _, _ in listener.heard]
    assert progress == sorted(set(progress))


@pytest.mark.parametrize(
    "error", [UnavailableError("x"), BadRequestError("x"), OutcomeUnknownError("x")]
)
async def test_what_will_not_pass_is_not_tried_again(error: Exception) -> None:
    tries: list[None] = []

    async def attempt() -> None:
        tries.append(None)
        raise error

    with pytest.raises(type(error)):
        await retry_until(attempt, ManualClock().clock, max_seconds=60)
    assert len(tries) == 1


@pytest.mark.parametrize(("advised", "tries"), [(20.0, 2), (59.0, 2), (61.0, 1), (86_400.0, 1)])
async def test_the_advice_of_the_cloud_is_followed_where_the_time_allows(
    advised: float, tries: int
) -> None:
    turned, begun = ManualClock(), list[float]()

    async def attempt() -> str:
        begun.append(turned.elapsed())
        if len(begun) == 2:
            return "done"
        raise RateLimitedError("x", retry_after=advised, transient=True)

    if tries == 1:
        with pytest.raises(RateLimitedError) as caught:
            await retry_until(attempt, turned.clock, max_seconds=60)
        assert caught.value.retry_after == advised
    else:
        assert await retry_until(attempt, turned.clock, max_seconds=60) == "done"
        assert advised <= begun[1] - begun[0] <= advised + MAX_DELAY_SECONDS
    assert len(begun) == tries


async def test_the_numbers_of_progress_only_grow_whoever_tells_them() -> None:
    listener = Listener()
    news = current_caller().progress
    await news.report(0, 30, "begun")
    await news.report_delay("busy")
    await news.report(0, 30, "begun again")
    await news.report(5, 30, "later")
    await news.report_delay("busy again")
    progress = [waited for waited, _, _ in listener.heard]
    assert progress == sorted(set(progress))
    assert [total for _, total, _ in listener.heard] == [30, None, 30, 30, None]


async def test_work_that_nobody_called_for_is_told_to_nobody() -> None:
    CALLER.set(None)
    caller = current_caller()
    await caller.progress.report_delay("nobody hears")
    assert caller.client_id == ""
