"""Who is known does what their scopes allow, on either era, and the ledger says who it was."""

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
from snapshot_mcp.transports.http.token_verifier import LEEWAY_SECONDS
from tests.conftest import ERAS, SHOWS_PANELS, ask, refused
from tests.service.conftest import Service
from tests.service.conversation import LEGACY, MODERN, bearer_headers, open_session
from tests.service.conversation import send_request as ask_raw
from tests.waiting import ANSWER_TIMEOUT_SECONDS

ALL = " ".join(SCOPES)


@asynccontextmanager
async def client_of(service: Service, token: str, mode: str) -> AsyncGenerator[Client]:
    """A real client that presents `token`."""
    async with (
        httpx2.AsyncClient(
            headers=bearer_headers(token), timeout=ANSWER_TIMEOUT_SECONDS, trust_env=False
        ) as http,
        Client(
            streamable_http_client(f"{service.server.url}/mcp", http_client=http), mode=mode
        ) as client,
    ):
        yield client


def ledger(service: Service) -> list[tuple[str, str, str]]:
    """Event, tool and principal of every row."""
    with closing(sqlite3.connect(service.folder / LEDGER_FILE)) as database:
        return database.execute("SELECT event, tool, principal FROM attempts").fetchall()


async def test_every_tool_has_a_scope_and_no_other_name_does() -> None:
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
        for held in SCOPES:
            answer = ask_raw(service.http, MODERN, service.issuer.token(held), "tools/call", params)
            assert (answer.status_code == 403) == (needed != {held})
    assert is_listed(COMMIT_TOOL, {WRITE})
    assert not is_listed(COMMIT_TOOL, {READ})
    assert service.upstream.requests == []


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("held", [READ, WRITE, f"{READ} {DELETE}", ALL])
async def test_only_the_tools_within_the_scopes_are_listed_and_prompts_that_name_no_others(
    service: Service, held: str, mode: str
) -> None:
    async with client_of(service, service.issuer.token(held), mode) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        if READ in held:
            prompts = {it.name for it in (await client.list_prompts()).prompts}
            assert prompts == {it.name for it in load_prompts() if it.needs <= listed}
            assert prompts
    assert listed == {
        name
        for name, scope in SCOPE_OF_TOOL.items()
        if scope in held.split() and not name.startswith("panel_")  # for clients that show panels
    }


@pytest.mark.parametrize("mode", ERAS)
async def test_a_plan_is_of_use_to_nobody_but_whom_it_was_made_for(
    service: Service, mode: str
) -> None:
    mine, yours = (service.issuer.token(ALL, sub=f"{who}-{mode}") for who in ("alice", "bob"))
    async with client_of(service, mine, mode) as alice, client_of(service, yours, mode) as bob:
        listed = await ask(alice, "list_snapshots", state="ready", limit=1)
        target = {"snapshot_id": listed["snapshots"][0]["id"]}
        plan = await ask(alice, "delete_snapshot", **target)
        words = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        told = await refused(bob, "delete_snapshot", **target, **words)
        assert "made for someone else" in told
        assert service.upstream.writes == []
        done = await ask(alice, "delete_snapshot", **target, **words)
        assert done["outcome"] in {"deleted", "pending"}
    names = {who: f"{service.issuer.url}#{who}-{mode}" for who in ("alice", "bob")}
    rows = [row for row in ledger(service) if row[2] in names.values()]
    assert ("planned", "delete_snapshot", names["alice"]) in rows
    assert ("sent", "delete_snapshot", names["alice"]) in rows
    assert [row for row in rows if row[2] == names["bob"]] == [
        ("refused", "delete_snapshot", names["bob"])
    ]
    service.upstream.requests.clear()


class _Kept:
    """Where the client keeps its token."""

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


async def test_a_client_that_knows_only_the_address_finds_the_issuer_and_gets_a_token(
    service: Service,
) -> None:
    address, kept = f"{service.server.url}/mcp", _Kept()
    provider = ClientCredentialsOAuthProvider(
        address, kept, "robot", "secret", "client_secret_post", issuer=service.issuer.url
    )
    async with (
        httpx2.AsyncClient(auth=provider, timeout=ANSWER_TIMEOUT_SECONDS, trust_env=False) as http,
        Client(streamable_http_client(address, http_client=http)) as client,
    ):
        assert (await ask(client, "list_snapshots", limit=1))["total"] > 0
    assert kept.tokens is not None
    assert kept.tokens.scope == READ


async def seconds_to_begin(service: Service) -> int:
    """Whole seconds that suffice to begin a conversation, however busy the machine is just now."""
    begun = monotonic()
    async with client_of(service, service.issuer.token(READ), ERAS[1]) as client:
        await ask(client, "list_virtual_machines", search="notebook")
    return 2 + int(4 * (monotonic() - begun))


@pytest.mark.parametrize("era", [LEGACY, MODERN])
async def test_a_stream_that_only_listens_ends_when_its_token_does(
    service: Service, era: str
) -> None:
    lasts = await seconds_to_begin(service)
    token = service.issuer.token(READ, exp=int(time()) + lasts - LEEWAY_SECONDS)
    # A stream that nothing ends would last until the time-out of the reading.
    assert await to_thread.run_sync(_listen, service, era, token) == 200


def _listen(service: Service, era: str, token: str) -> int:
    """Listen to the end; the status that it began with."""
    if era == MODERN:
        wanted: dict[str, Any] = {"notifications": {"resourceSubscriptions": ["snapshot://1"]}}
        answer = ask_raw(service.http, era, token, "subscriptions/listen", wanted)
        assert "acknowledged" in answer.text
        return answer.status_code
    headers = {
        "accept": "text/event-stream",
        "mcp-session-id": open_session(service.http, token),
        "mcp-protocol-version": LEGACY,
    }
    return service.http.get("/mcp", headers=headers | bearer_headers(token)).status_code


async def test_a_call_that_goes_on_is_not_cut_when_its_token_ends(service: Service) -> None:
    lasts = await seconds_to_begin(service)
    token = service.issuer.token(ALL, exp=int(time()) + lasts - LEEWAY_SECONDS)
    async with client_of(service, token, ERAS[1]) as client:
        vms = await ask(client, "list_virtual_machines", search="notebook")
        result: list[CallToolResult] = []

        async def create() -> None:
            order = {"vm_id": vms["virtual_machines"][0]["id"], "name": "while-it-ends"}
            result.append(
                await client.call_tool("create_snapshot", order | {"wait_seconds": lasts + 1})
            )

        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            await create()
    assert not result[0].is_error
    service.upstream.requests.clear()
