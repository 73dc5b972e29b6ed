"""Authenticated callers act within their scopes, in both eras, and the ledger records them."""

import select
import socket
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from time import monotonic, time
from typing import Any

import anyio
import httpx2
import pytest
from anyio import to_thread
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp_types import CallToolResult

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.mcp_server.panel.tools import COMMITTED_TOOLS
from snapshot_mcp.mcp_server.prompt_files import load_prompts
from snapshot_mcp.settings.environment import LEDGER_FILE, Settings
from snapshot_mcp.transports.http.scopes import (
    COMMIT_TOOL,
    DELETE,
    READ,
    SCOPE_OF_TOOL,
    SCOPES,
    WRITE,
    is_listed,
    required_scopes,
)
from snapshot_mcp.transports.http.token_claims import LEEWAY_SECONDS
from snapshot_mcp.transports.http.token_verifier import MAX_TOKEN_LENGTH
from tests.conftest import ERAS, SHOWS_PANELS, call_tool, call_tool_error
from tests.service.conftest import Service
from tests.service.raw_requests import LEGACY, MODERN, bearer_headers, open_session
from tests.service.raw_requests import send_request as send_raw_request
from tests.waiting import ANSWER_TIMEOUT_SECONDS

ALL = " ".join(SCOPES)


@asynccontextmanager
async def connect_client(service: Service, token: str, mode: str) -> AsyncGenerator[Client]:
    """Connect a real MCP client that sends `token`."""
    async with (
        httpx2.AsyncClient(
            headers=bearer_headers(token), timeout=ANSWER_TIMEOUT_SECONDS, trust_env=False
        ) as http,
        Client(
            streamable_http_client(f"{service.server.url}/mcp", http_client=http), mode=mode
        ) as client,
    ):
        yield client


def ledger_rows(service: Service) -> list[tuple[str, str, str]]:
    """Return event, tool and principal of every row."""
    with closing(sqlite3.connect(service.folder / LEDGER_FILE)) as database:
        return database.execute("SELECT event, tool, principal FROM attempts").fetchall()


async def test_exactly_the_tools_have_a_scope() -> None:
    async with Client(create_server(Settings()), extensions=SHOWS_PANELS) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() == {*SCOPE_OF_TOOL, COMMIT_TOOL}
    for name, scope in SCOPE_OF_TOOL.items():
        hints = tools[name].annotations
        assert hints is not None
        assert (scope == READ) == bool(hints.read_only_hint)
        assert (scope == DELETE) <= bool(hints.destructive_hint)


async def test_a_commit_in_the_panel_needs_the_scope_of_what_is_committed(
    service: Service,
) -> None:
    assert {SCOPE_OF_TOOL[tool] for tool in COMMITTED_TOOLS} == {WRITE, DELETE}
    for tool in (*COMMITTED_TOOLS, "nonsense"):
        params = {"name": COMMIT_TOOL, "arguments": {"tool": tool}}
        needed = required_scopes("tools/call", params)
        assert needed == {SCOPE_OF_TOOL.get(tool, READ)} or tool == "nonsense"
        for granted in SCOPES:
            response = send_raw_request(
                service.http, MODERN, service.issuer.token(granted), "tools/call", params
            )
            assert (response.status_code == 403) == (needed != {granted})
    assert is_listed(COMMIT_TOOL, {WRITE})
    assert not is_listed(COMMIT_TOOL, {READ})
    assert service.upstream.requests == []


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("granted", [READ, WRITE, f"{READ} {DELETE}", ALL])
async def test_tools_and_prompts_are_listed_by_scopes(
    service: Service, granted: str, mode: str
) -> None:
    async with connect_client(service, service.issuer.token(granted), mode) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        if READ in granted:
            prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
            assert prompts == {prompt.name for prompt in load_prompts() if prompt.needs <= listed}
            assert prompts
    assert listed == {
        name
        for name, scope in SCOPE_OF_TOOL.items()
        if scope in granted.split()
        and not name.startswith("panel_")  # only for clients that support panels
    }


@pytest.mark.parametrize("mode", ERAS)
async def test_a_plan_can_only_be_used_by_its_principal(service: Service, mode: str) -> None:
    alice_token, bob_token = (
        service.issuer.token(ALL, sub=f"{name}-{mode}") for name in ("alice", "bob")
    )
    async with (
        connect_client(service, alice_token, mode) as alice,
        connect_client(service, bob_token, mode) as bob,
    ):
        listed = await call_tool(alice, "list_snapshots", state="ready", limit=1)
        target = {"snapshot_id": listed["snapshots"][0]["id"]}
        plan = await call_tool(alice, "delete_snapshot", **target)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        error = await call_tool_error(bob, "delete_snapshot", **target, **commit)
        assert "made for someone else" in error
        assert service.upstream.writes == []
        result = await call_tool(alice, "delete_snapshot", **target, **commit)
        assert result["outcome"] in {"deleted", "pending"}
    names = {name: f"{service.issuer.url}#{name}-{mode}" for name in ("alice", "bob")}
    rows = [row for row in ledger_rows(service) if row[2] in names.values()]
    assert ("planned", "delete_snapshot", names["alice"]) in rows
    assert ("sent", "delete_snapshot", names["alice"]) in rows
    assert [row for row in rows if row[2] == names["bob"]] == [
        ("refused", "delete_snapshot", names["bob"])
    ]
    service.upstream.requests.clear()


class _TokenStore:
    """The token storage of a client."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise NotImplementedError


async def test_a_client_discovers_the_issuer_and_gets_a_token(
    service: Service,
) -> None:
    address, token_store = f"{service.server.url}/mcp", _TokenStore()
    provider = ClientCredentialsOAuthProvider(
        address, token_store, "robot", "secret", "client_secret_post", issuer=service.issuer.url
    )
    async with (
        httpx2.AsyncClient(auth=provider, timeout=ANSWER_TIMEOUT_SECONDS, trust_env=False) as http,
        Client(streamable_http_client(address, http_client=http)) as client,
    ):
        assert (await call_tool(client, "list_snapshots", limit=1))["total"] > 0
    assert token_store.tokens is not None
    assert token_store.tokens.scope == READ


async def seconds_to_begin(service: Service) -> int:
    """Return whole seconds that are enough to open a stream, even on a busy machine."""
    start = monotonic()
    async with connect_client(service, service.issuer.token(READ), ERAS[1]) as client:
        await call_tool(client, "list_virtual_machines", search="notebook")
    return 2 + int(4 * (monotonic() - start))


@pytest.mark.parametrize("era", [LEGACY, MODERN])
async def test_a_stream_ends_when_its_token_expires(service: Service, era: str) -> None:
    lifetime = await seconds_to_begin(service)
    token = service.issuer.token(READ, exp=int(time()) + lifetime - LEEWAY_SECONDS)
    # A stream that stays open would exceed the read timeout.
    assert await to_thread.run_sync(_listen, service, era, token) == 200


def _listen(service: Service, era: str, token: str) -> int:
    """Read a stream to its end and return its status."""
    if era == MODERN:
        params: dict[str, Any] = {"notifications": {"resourceSubscriptions": ["snapshot://1"]}}
        response = send_raw_request(service.http, era, token, "subscriptions/listen", params)
        assert "acknowledged" in response.text
        return response.status_code
    headers = {
        "accept": "text/event-stream",
        "mcp-session-id": open_session(service.http, token),
        "mcp-protocol-version": LEGACY,
    }
    return service.http.get("/mcp", headers=headers | bearer_headers(token)).status_code


async def test_a_running_call_is_not_cut_off_when_its_token_expires(service: Service) -> None:
    lifetime = await seconds_to_begin(service)
    token = service.issuer.token(ALL, exp=int(time()) + lifetime - LEEWAY_SECONDS)
    async with connect_client(service, token, ERAS[1]) as client:
        vms = await call_tool(client, "list_virtual_machines", search="notebook")
        result: list[CallToolResult] = []

        async def create() -> None:
            arguments = {"vm_id": vms["virtual_machines"][0]["id"], "name": "while-it-ends"}
            result.append(
                await client.call_tool(
                    "create_snapshot", arguments | {"wait_seconds": lifetime + 1}
                )
            )

        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            await create()
    assert not result[0].is_error
    service.upstream.requests.clear()


@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_a_token_with_hundreds_of_groups_is_accepted(service: Service, era: str) -> None:
    token = service.issuer.longest_token(READ, MAX_TOKEN_LENGTH)
    assert send_raw_request(service.http, era, token, "tools/list").status_code == 200
    assert service.upstream.requests == []


def test_a_long_token_may_arrive_in_pieces(service: Service) -> None:
    token = service.issuer.longest_token(READ, MAX_TOKEN_LENGTH)
    request = f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.server.port)) as connection:
        connection.sendall(request[:-2].encode())
        assert not select.select([connection], [], [], 0.3)[0]  # no answer to a part
        connection.sendall(request[-2:].encode())
        connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        answer = connection.recv(100)
    assert answer.startswith(b"HTTP/1.1 406 ")  # authenticated, but it accepts no stream
