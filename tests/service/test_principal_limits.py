"""The limits of each principal over HTTP: one at its limit is refused, and another is served."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from starlette.types import ASGIApp, Message

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from snapshot_mcp.transports.http import principal_limits, quotas
from snapshot_mcp.transports.http.app import create_http_app
from snapshot_mcp.transports.http.principal_limits import MAX_REQUEST_BYTES, SESSION_IDLE_SECONDS
from snapshot_mcp.transports.http.quotas import Quotas
from snapshot_mcp.transports.http.settings import HttpSettings
from snapshot_mcp.transports.http.static_tokens import parse_static_token
from tests.conftest import ManualClock
from tests.processes.http_server import ACCEPT
from tests.service.raw_requests import CLIENT_INFO, ERAS, LEGACY, MODERN
from tests.waiting import ANSWER_TIMEOUT_SECONDS

_SESSION = "mcp-session-id"
ALICE, BOB = "a" * 32, "b" * 32


class Team:
    """An application in this process, with two principals.

    Attributes:
        clock: the clock of the application.
    """

    def __init__(self, app: ASGIApp, clock: ManualClock) -> None:
        self.clock = clock
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", timeout=ANSWER_TIMEOUT_SECONDS
        )

    async def post(
        self, token: str, method: str, params: dict[str, Any] | None = None, session: str = ""
    ) -> httpx.Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        headers = {_SESSION: session} if session else None
        return await self.send("POST", token, json.dumps(message).encode(), headers)

    async def post_modern(
        self, token: str, method: str, params: dict[str, Any] | None = None
    ) -> httpx.Response:
        meta = {
            PROTOCOL_VERSION_META_KEY: MODERN,
            CLIENT_INFO_META_KEY: CLIENT_INFO,
            CLIENT_CAPABILITIES_META_KEY: {},
        }
        params = {**(params or {}), "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
        return await self.send("POST", token, json.dumps(message).encode(), headers)

    async def send(
        self,
        http_method: str,
        token: str,
        content: bytes | AsyncGenerator[bytes] = b"",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        content_type = {"content-type": "application/json"}
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        all_headers = ACCEPT | content_type | authorization | (headers or {})
        return await self.http.request(http_method, "/mcp", content=content, headers=all_headers)

    async def open_session(self, token: str) -> httpx.Response:
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        return await self.post(token, "initialize", params)

    async def is_served(self, token: str) -> bool:
        """Return whether a principal can list the tools in both eras."""
        modern = await self.post_modern(token, "tools/list")
        opened = await self.open_session(token)
        session = opened.headers[_SESSION]
        legacy = await self.post(token, "tools/list", session=session)
        await self.send("DELETE", token, headers={_SESSION: session})
        return modern.is_success and legacy.is_success


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncGenerator[None]:
    """Run the lifespan of an application."""
    started, stop = anyio.Event(), anyio.Event()
    received = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        kind = next(received)
        if kind == "lifespan.shutdown":
            await stop.wait()
        return {"type": kind}

    async def send(message: Message) -> None:
        assert message["type"] in {"lifespan.startup.complete", "lifespan.shutdown.complete"}
        started.set()

    async def run() -> None:
        await app({"type": "lifespan", "state": {}}, receive, send)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        yield
        stop.set()


@asynccontextmanager
async def team_of(folder: Path, http_settings: HttpSettings) -> AsyncGenerator[Team]:
    clock = ManualClock()
    server = create_server(Settings(data_dir=folder), clock=clock.clock)
    app = create_http_app(server, http_settings, routes=[], public_paths=[], clock=clock.clock)
    team = Team(app, clock)
    async with serving(app), team.http:
        yield team


@pytest.fixture
async def team(tmp_path: Path) -> AsyncGenerator[Team]:
    tokens = tuple(
        parse_static_token("test", token, principal=name)
        for name, token in (("alice", ALICE), ("bob", BOB))
    )
    async with team_of(tmp_path, HttpSettings(static_tokens=tokens)) as team:
        yield team


def assert_refused(response: httpx.Response, status: int, text: str) -> None:
    assert response.status_code == status
    assert text in response.json()["error_description"]
    assert response.json()["error_description"].endswith("Nothing was changed.")
    if status == 429:
        assert int(response.headers["retry-after"]) > 0


async def test_a_principal_has_a_limited_number_of_sessions(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_SESSIONS", 3)
    opened = [await team.open_session(ALICE) for _ in range(4)]
    assert [response.status_code for response in opened[:3]] == [200] * 3
    assert_refused(opened[3], 429, "3 open sessions")
    assert await team.is_served(BOB)
    # The sessions that are open continue.
    session = opened[0].headers[_SESSION]
    assert (await team.post(ALICE, "tools/list", session=session)).is_success
    assert (await team.post_modern(ALICE, "tools/list")).is_success
    # Ending one makes room for another, and so does the time.
    assert (await team.send("DELETE", ALICE, headers={_SESSION: session})).is_success
    assert (await team.open_session(ALICE)).is_success
    assert (await team.open_session(ALICE)).status_code == 429
    team.clock.advance(seconds=SESSION_IDLE_SECONDS + 1)
    assert (await team.open_session(ALICE)).is_success


async def test_sessions_of_others_and_unknown_ones_are_not_counted(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_SESSIONS", 1)
    opened = await team.open_session(BOB)
    for session in (opened.headers[_SESSION], "unknown"):
        headers = {_SESSION: session}
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
    sessions = [(await team.open_session(ALICE)).headers[_SESSION] for _ in range(3)]

    async def open_stream(number: int) -> httpx.Response:
        if era == MODERN:
            filters = {"resourceSubscriptions": ["snapshot://policy"]}
            parameters = {"notifications": filters}
            return await team.post_modern(ALICE, "subscriptions/listen", parameters)
        return await team.send("GET", ALICE, headers={_SESSION: sessions[number]})

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
    headers = {_SESSION: opened.headers[_SESSION]}
    assert (await team.send("POST", ALICE, longest.encode(), headers)).is_success
    for content in (longest.encode() + b" ", chunks(MAX_REQUEST_BYTES + 1)):
        assert_refused(await team.send("POST", ALICE, content, headers), 413, "65,536 bytes")


async def test_without_authentication_the_limits_apply_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_limits, "MAX_SESSIONS", 2)
    async with team_of(tmp_path, HttpSettings()) as team:
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
