"""Polling ends in time, survives failed fetches, and reports its progress."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.core.clock import SYSTEM_CLOCK, Clock
from snapshot_mcp.core.errors import (
    ForbiddenError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitedError,
    UnavailableError,
)
from snapshot_mcp.core.request_context import CALLER, Caller, ProgressReporter
from snapshot_mcp.operations.polling import PollResult, poll_until

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
GONE = "the cloud does not find it at the moment"
DEAF = "the cloud could not be read at the moment"


@dataclass
class Wait:
    """One wait on a clock that moves when the code sleeps; each fetch takes the next response.

    The last response is repeated.
    """

    responses: list[str | Exception]
    seconds: float = 60
    fetch_seconds: float = 0
    reports: list[tuple[float, float, str]] = field(default_factory=list[tuple[float, float, str]])
    taken: int = 0
    now: float = 0

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.now += seconds

    @property
    def clock(self) -> Clock:
        """A clock whose time of day goes backwards, which must not affect any wait."""
        return Clock(lambda: NOON - timedelta(seconds=self.now), self.sleep, lambda: self.now)

    async def fetch(self) -> str:
        response = self.responses[min(self.taken, len(self.responses) - 1)]
        self.taken += 1
        self.now += self.fetch_seconds
        if isinstance(response, Exception):
            raise response
        return response

    async def report(self, waited: float, total: float | None, line: str) -> None:
        assert total is not None
        self.reports.append((waited, total, line))

    async def run(self, first: str = "CREATING") -> PollResult[str]:
        CALLER.set(Caller("a client", ProgressReporter(self.report)))
        return await poll_until(
            first,
            self.fetch,
            lambda response: response == "SUCCESS",
            lambda response: f"it is {response}",
            seconds=self.seconds,
            clock=self.clock,
        )


async def test_a_final_value_is_not_polled() -> None:
    wait = Wait(["never"])
    assert await wait.run("SUCCESS") == ("SUCCESS", "")
    assert (wait.taken, wait.reports, wait.now) == (0, [], 0)


async def test_a_wait_of_zero_seconds_fetches_nothing() -> None:
    wait = Wait(["SUCCESS"], seconds=0)
    assert await wait.run() == ("CREATING", "")
    assert (wait.taken, wait.reports) == (0, [])


async def test_a_wait_ends_with_the_final_state() -> None:
    wait = Wait(["CREATING", "SAVING", "SUCCESS"])
    assert await wait.run() == ("SUCCESS", "")
    assert wait.taken == 3
    assert [line for _, _, line in wait.reports] == [
        "it is CREATING",
        "it is CREATING",
        "it is SAVING",
    ]
    assert wait.now < 5


@pytest.mark.parametrize("seconds", [0.1, 1, 7, 60, 600])
async def test_a_wait_ends_at_its_limit_after_a_last_fetch(seconds: float) -> None:
    wait = Wait(["CREATING"], seconds=seconds)
    assert await wait.run() == ("CREATING", "")
    assert wait.now == pytest.approx(seconds, abs=0.001)
    assert wait.taken == len(wait.reports) >= 1


async def test_the_intervals_between_fetches_grow() -> None:
    wait = Wait(["CREATING"], seconds=600)
    await wait.run()
    pauses = [round(later[0] - earlier[0], 6) for earlier, later in pairwise(wait.reports)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1
    assert max(pauses) == 5
    assert wait.taken < 150


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (NotFoundError("x"), GONE),
        (UnavailableError("x"), DEAF),
        (RateLimitedError("x", retry_after=3), DEAF),
        (ForbiddenError("x"), DEAF),
        (OutcomeUnknownError("x"), DEAF),
        (ProtocolError("x"), DEAF),
    ],
    ids=repr,
)
async def test_a_failed_fetch_is_reported_only_if_no_later_one_succeeds(
    error: Exception, trouble: str
) -> None:
    assert await Wait([error, error, "SUCCESS"]).run() == ("SUCCESS", "")
    assert await Wait([error, "SAVING"], seconds=9).run() == ("SAVING", "")
    assert await Wait(["SAVING", error], seconds=9).run() == ("SAVING", trouble)
    assert await Wait([error], seconds=9).run() == ("CREATING", trouble)


async def test_an_unexpected_exception_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await Wait([ZeroDivisionError()]).run()


async def test_a_slow_fetch_does_not_prolong_the_wait() -> None:
    wait = Wait(["CREATING"], seconds=10, fetch_seconds=8)
    await wait.run()
    assert wait.now <= 10 + 8
    assert all(waited <= 10 for waited, _, _ in wait.reports)


responses = st.lists(
    st.sampled_from(["CREATING", "SAVING", "SUCCESS"])
    | st.builds(NotFoundError, st.just("x"))
    | st.builds(UnavailableError, st.just("x")),
    min_size=1,
    max_size=12,
)


@given(responses, st.floats(0, 600), st.floats(0, 20))
def test_every_wait_ends_and_its_progress_only_grows(
    response: list[str | Exception], seconds: float, fetch_seconds: float
) -> None:
    wait = Wait(response, seconds=seconds, fetch_seconds=fetch_seconds)
    last, trouble = anyio.run(wait.run)
    assert wait.now <= seconds + fetch_seconds + 0.001
    waited = [progress for progress, _, _ in wait.reports]
    assert all(earlier < later for earlier, later in pairwise(waited))
    assert all(0 <= progress <= total == seconds for progress, total, _ in wait.reports)
    assert last == "SUCCESS" or wait.now >= seconds - 0.001
    assert not (trouble and last == "SUCCESS")


async def test_the_system_clock_is_aware_and_waits() -> None:
    before = SYSTEM_CLOCK.now()
    await SYSTEM_CLOCK.sleep(0)
    assert before.utcoffset() is not None
    assert SYSTEM_CLOCK.now() >= before
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()


async def test_an_error_of_the_progress_reporter_ends_the_wait() -> None:
    async def broken(waited: float, total: float | None, line: str) -> None:
        del waited, total, line
        raise ConnectionError

    wait = Wait(["CREATING"])
    wait.report = broken
    with pytest.raises(ConnectionError):
        await wait.run()
    assert wait.taken == 0
