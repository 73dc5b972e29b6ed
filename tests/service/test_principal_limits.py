"""The limits of each principal over HTTP: one at its limit is refused, and another is served."""

import json
from collections.abc import AsyncGenerator

import anyio
import httpx
import pytest

from snapshot_mcp.transports.http import principal_limits, quotas
from snapshot_mcp.transports.http.principal_limits import MAX_REQUEST_BYTES, SESSION_IDLE_SECONDS
from snapshot_mcp.transports.http.quotas import Quotas
from tests.conftest import ManualClock, World
from tests.service.raw_requests import ERAS, MODERN
from tests.service.team import ALICE, BOB, SESSION_HEADER, Team, team_of


@pytest.fixture
async def team(world: World) -> AsyncGenerator[Team]:
    async with team_of(world) as team:
        yield team


def assert_refused(response: httpx.Response, status: int, text: str) -> None:
    assert response.status_code == status
    assert text in response.json()["error_description"]
    assert response.json()["error_description"].endswith("Nothing was changed.")
    if status == 429:
        assert int(response.headers["retry-after"]) > 0


async def test_a_principal_has_a_limited_number_of_sessions(
    world: World, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_SESSIONS", 3)
    opened = [await team.open_session(ALICE) for _ in range(4)]
    assert [response.status_code for response in opened[:3]] == [200] * 3
    assert_refused(opened[3], 429, "3 open sessions")
    assert await team.is_served(BOB)
    # The sessions that are open continue.
    session = opened[0].headers[SESSION_HEADER]
    assert (await team.post(ALICE, "tools/list", session=session)).is_success
    assert (await team.post_modern(ALICE, "tools/list")).is_success
    # Ending one makes room for another, and so does the time.
    assert (await team.send("DELETE", ALICE, headers={SESSION_HEADER: session})).is_success
    assert (await team.open_session(ALICE)).is_success
    assert (await team.open_session(ALICE)).status_code == 429
    world.manual_clock.advance(seconds=SESSION_IDLE_SECONDS + 1)
    assert (await team.open_session(ALICE)).is_success


async def test_sessions_of_others_and_unknown_ones_are_not_counted(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_SESSIONS", 1)
    opened = await team.open_session(BOB)
    for session in (opened.headers[SESSION_HEADER], "unknown"):
        headers = {SESSION_HEADER: session}
        assert (await team.send("DELETE", ALICE, headers=headers)).status_code == 404
        assert (await team.post(ALICE, "tools/list", session=session)).status_code == 404
    assert (await team.open_session(BOB)).status_code == 429
    # A message that opens no session leaves none behind.
    assert (await team.post(ALICE, "tools/list")).status_code == 400
    assert (await team.open_session(ALICE)).is_success


async def test_concurrent_openings_do_not_exceed_the_limit(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_SESSIONS", 3)
    statuses: list[int] = []

    async def open_one() -> None:
        statuses.append((await team.open_session(ALICE)).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(open_one)
    assert sorted(statuses) == [200] * 3 + [429] * 7
    assert await team.is_served(BOB)


@pytest.mark.parametrize("era", ERAS)
async def test_a_principal_has_a_limited_number_of_streams(
    team: Team, monkeypatch: pytest.MonkeyPatch, era: str
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_STREAMS", 2)
    sessions = [(await team.open_session(ALICE)).headers[SESSION_HEADER] for _ in range(3)]

    async def open_stream(number: int) -> httpx.Response:
        if era == MODERN:
            filters = {"resourceSubscriptions": ["snapshot://policy"]}
            parameters = {"notifications": filters}
            return await team.post_modern(ALICE, "subscriptions/listen", parameters)
        return await team.send("GET", ALICE, headers={SESSION_HEADER: sessions[number]})

    async with anyio.create_task_group() as group:
        for number in range(2):
            group.start_soon(open_stream, number)
        await anyio.wait_all_tasks_blocked()
        assert_refused(await open_stream(2), 429, "2 open streams")
        assert await team.is_served(BOB)
        # Streams do not use up the other requests.
        assert (await team.post_modern(ALICE, "tools/list")).is_success
        group.cancel_scope.cancel()
    monkeypatch.setattr(principal_limits, "MAX_STREAMS", 1)
    async with anyio.create_task_group() as group:
        group.start_soon(open_stream, 2)
        await anyio.wait_all_tasks_blocked()
        assert_refused(await open_stream(1), 429, "1 open streams")
        group.cancel_scope.cancel()


async def test_unfinished_bodies_count_as_requests(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_CONCURRENT_REQUESTS", 2)

    async def unfinished() -> AsyncGenerator[bytes]:
        yield b'{"jsonrpc": "2.0"'
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(team.send, "POST", ALICE, unfinished())
        await anyio.wait_all_tasks_blocked()
        assert_refused(await team.post_modern(ALICE, "tools/list"), 429, "2 requests in progress")
        assert await team.is_served(BOB)
        group.cancel_scope.cancel()
    assert (await team.post_modern(ALICE, "tools/list")).is_success


async def test_a_long_body_is_refused_however_its_length_is_declared(team: Team) -> None:
    async def chunks(size: int) -> AsyncGenerator[bytes]:
        for _ in range(0, size, 1024):
            yield b" " * 1024

    longest = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).ljust(MAX_REQUEST_BYTES)
    opened = await team.open_session(ALICE)
    headers = {SESSION_HEADER: opened.headers[SESSION_HEADER]}
    assert (await team.send("POST", ALICE, longest.encode(), headers)).is_success
    for content in (longest.encode() + b" ", chunks(MAX_REQUEST_BYTES + 1)):
        assert_refused(await team.send("POST", ALICE, content, headers), 413, "65,536 bytes")


async def test_without_authentication_the_limits_apply_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_SESSIONS", 2)
    async with team_of(world, authenticates=False) as team:
        assert (await team.open_session("")).is_success
        assert (await team.open_session("")).is_success
        assert_refused(await team.open_session(""), 429, "2 open sessions")
        long_body = b" " * (MAX_REQUEST_BYTES + 1)
        assert_refused(await team.send("POST", "", long_body), 413, "65,536 bytes")
        assert (await team.http.get("/other")).status_code == 404


def test_a_quota_also_limits_the_requests_of_one_second() -> None:
    clock = ManualClock()
    quota = Quotas(600, clock.clock)
    burst = [quota.seconds_until_permitted("a") for _ in range(quotas.MIN_BURST + 1)]
    assert burst[:-1] == [0] * quotas.MIN_BURST
    assert burst[-1] == pytest.approx(1, abs=0.01)
    assert quota.seconds_until_permitted("b") == 0
    clock.advance(seconds=1.1)
    assert quota.seconds_until_permitted("a") == 0


async def test_a_principal_over_its_burst_is_refused(team: Team) -> None:
    statuses = [
        (await team.post_modern(ALICE, "ping")).status_code for _ in range(quotas.MIN_BURST + 1)
    ]
    assert statuses[-1] == 429
    assert 429 not in statuses[:-1]
    assert await team.is_served(BOB)
