"""A service in this process, with two principals: no port, no process, and a manual clock."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from starlette.types import ASGIApp, Message

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.transports.http.app import create_http_app
from snapshot_mcp.transports.http.settings import HttpSettings
from snapshot_mcp.transports.http.static_tokens import parse_static_token
from tests.conftest import World
from tests.processes.http_server import ACCEPT
from tests.service.raw_requests import CLIENT_INFO, LEGACY, MODERN
from tests.waiting import ANSWER_TIMEOUT_SECONDS

SESSION_HEADER = "mcp-session-id"
ALICE, BOB = "a" * 32, "b" * 32
TOKENS = {"alice": ALICE, "bob": BOB}


class Team:
    """Clients of an application in this process."""

    def __init__(self, app: ASGIApp) -> None:
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", timeout=ANSWER_TIMEOUT_SECONDS
        )

    async def post(
        self, token: str, method: str, params: dict[str, Any] | None = None, session: str = ""
    ) -> httpx.Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        headers = {SESSION_HEADER: session} if session else None
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
        if "name" in params:
            headers["mcp-name"] = params["name"]
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

    async def call_tool(self, token: str, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool, and return its result."""
        params = {"name": tool, "arguments": arguments}
        response = await self.post_modern(token, "tools/call", params)
        assert response.is_success, response.text
        text = response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            text = text.rsplit("data: ", 1)[1]
        return json.loads(text)["result"]

    async def open_session(self, token: str) -> httpx.Response:
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        return await self.post(token, "initialize", params)

    async def is_served(self, token: str) -> bool:
        """Return whether a principal can list the tools in both eras."""
        modern = await self.post_modern(token, "tools/list")
        opened = await self.open_session(token)
        session = opened.headers[SESSION_HEADER]
        legacy = await self.post(token, "tools/list", session=session)
        await self.send("DELETE", token, headers={SESSION_HEADER: session})
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
async def team_of(world: World, *, authenticates: bool = True) -> AsyncGenerator[Team]:
    """Serve the cloud of a world, to Alice and Bob or without authentication."""
    tokens = tuple(
        parse_static_token("test", token, principal=name) for name, token in TOKENS.items()
    )
    http_settings = HttpSettings(static_tokens=tokens if authenticates else ())
    clock = world.manual_clock.clock
    server = create_server(world.settings, clock=clock, connect=world.connect)
    app = create_http_app(server, http_settings, routes=[], public_paths=[], clock=clock)
    team = Team(app)
    async with serving(app), team.http:
        yield team
