"""The MCP server itself enforces scopes, without the HTTP middleware in front of it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from mcp import Client, MCPError
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.transports.http.scope_middleware import ToolScopeMiddleware
from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPES, WRITE
from tests.conftest import ERAS, World, call_tool


@asynccontextmanager
async def client_with(
    world: World, mode: str, scopes: Sequence[str] | None
) -> AsyncGenerator[Client]:
    """Connect a client in memory with a token of these scopes; None for no token."""
    server = create_server(world.settings, clock=world.manual_clock.clock, connect=world.connect)
    server.middleware.append(ToolScopeMiddleware({}))
    access = AccessToken(token="", client_id="", scopes=list(scopes or ()), subject="alice")
    reset_token = auth_context_var.set(None if scopes is None else AuthenticatedUser(access))
    try:
        async with Client(server, mode=mode) as client:
            yield client
    finally:
        auth_context_var.reset(reset_token)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    ("tool", "needed"),
    [("list_snapshots", READ), ("create_snapshot", WRITE), ("delete_snapshot", DELETE)],
)
async def test_a_tool_beyond_the_scopes_is_rejected_before_anything_is_sent(
    world: World, tool: str, needed: str, mode: str
) -> None:
    other_scopes = [scope for scope in SCOPES if scope != needed]
    async with client_with(world, mode, other_scopes) as client:
        with pytest.raises(MCPError, match=f"needs the scope {needed}. Nothing was changed"):
            await client.call_tool(tool, {})
    assert world.requests == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_within_the_scopes_works(world: World, mode: str) -> None:
    async with client_with(world, mode, [READ]) as client:
        assert (await call_tool(client, "list_snapshots", limit=1))["total"] > 0


async def test_an_unauthenticated_caller_may_do_nothing(world: World) -> None:
    with pytest.raises((MCPError, ExceptionGroup)):
        async with client_with(world, ERAS[1], None) as client:
            await client.list_tools()
    assert world.requests == []
