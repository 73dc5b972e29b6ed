"""Scope checks: for HTTP requests, and again inside the MCP server.

`RequestScopeMiddleware` answers 403 before the MCP server sees a request. `ToolScopeMiddleware`
filters lists, and enforces the same scopes for any message that reached the server another way.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, cast

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST
from starlette.authentication import AuthCredentials
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.errors import NOTHING_CHANGED
from snapshot_mcp.transports.http.error_responses import ErrorResponder, insufficient_scope
from snapshot_mcp.transports.http.scopes import SCOPES, is_listed, required_scopes


class RequestScopeMiddleware:
    """ASGI middleware that rejects requests beyond the scopes of their token.

    Args:
        app: the application to wrap.
        responder: sends the error responses.
    """

    def __init__(self, app: ASGIApp, responder: ErrorResponder) -> None:
        self._app = app
        self._responder = responder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        credentials: object = scope.get("auth")
        granted = credentials.scopes if isinstance(credentials, AuthCredentials) else SCOPES
        # With all scopes, the body need not be parsed twice.
        if scope["type"] != "http" or scope["method"] != "POST" or set(SCOPES) <= set(granted):
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        if missing := _required_scopes_of_body(body) - set(granted):
            error = insufficient_scope(granted, missing)
            await self._responder.send(error, scope, receive, send)
            return
        await self._app(scope, _replay_body(body, receive), send)


class ToolScopeMiddleware(ServerMiddleware[Any]):
    """MCP middleware that lists and runs only what the scopes of the token permit.

    Args:
        prompts: the tools that each prompt names. A prompt is listed if all of them are.
    """

    def __init__(self, prompts: Mapping[str, Collection[str]]) -> None:
        self._prompts = prompts

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Handle one request; notifications need no scope.

        Raises:
            MCPError: The caller is not authenticated, or the token lacks a scope. Nothing was
                changed.
        """
        access_token = get_access_token()
        if ctx.request_id is None:
            return await call_next(ctx)
        if access_token is None:
            message = f"The caller is not authenticated. {NOTHING_CHANGED}"
            raise MCPError(INVALID_REQUEST, message)
        granted = set(access_token.scopes)
        if missing := required_scopes(ctx.method, ctx.params) - granted:
            message = f"This request needs the scope {' '.join(sorted(missing))}. {NOTHING_CHANGED}"
            raise MCPError(INVALID_REQUEST, message)
        result = await call_next(ctx)
        match ctx.method, result:
            case "tools/list", {"tools": tools}:
                listed = [tool for tool in tools if is_listed(tool["name"], granted)]
                return {**result, "tools": listed}
            case "prompts/list", {"prompts": prompts}:
                listed = [prompt for prompt in prompts if self._is_prompt_listed(prompt, granted)]
                return {**result, "prompts": listed}
            case _:
                return result

    def _is_prompt_listed(self, prompt: Mapping[str, Any], granted: Collection[str]) -> bool:
        return all(is_listed(tool, granted) for tool in self._prompts[prompt["name"]])


def _required_scopes_of_body(body: bytes) -> frozenset[str]:
    """Return the scopes for all messages in `body`; the SDK rejects what is not a message."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    items = cast("list[object]", decoded) if isinstance(decoded, list) else [decoded]
    messages = [cast("Mapping[str, object]", item) for item in items if isinstance(item, dict)]
    scopes = [
        required_scopes(str(message.get("method", "")), message.get("params"))
        for message in messages
    ]
    return frozenset[str]().union(*scopes)


async def _read_body(receive: Receive) -> bytes:
    body, more_body = b"", True
    while more_body:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        body += message.get("body", b"")
        more_body = message.get("more_body", False)
    return body


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns `body` again, and then the messages after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again
