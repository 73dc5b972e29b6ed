"""Scope checks: for HTTP requests, and again inside the MCP server.

`RequestScopeMiddleware` answers 403 before the MCP server sees a request. `ToolScopeMiddleware`
filters lists, and enforces the same scopes for any message that reached the server another way.
"""

import json
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.errors import NOTHING_CHANGED
from snapshot_mcp.transports.http.error_responses import ErrorResponder, insufficient_scope
from snapshot_mcp.transports.http.scopes import (
    READ,
    SCOPES,
    is_listed,
    read_member,
    required_scopes,
)

_Message = Mapping[str, object]


class _RunningCalls:
    """The scopes of the changes that run in each session, whose questions may be open.

    The answer to a question names neither its call nor its tool, so it needs the scopes of them
    all.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, Counter[str]] = {}

    def scopes_of_answer(self, session: str) -> frozenset[str]:
        """Return the scopes that an answer needs: all of them if no change is known to run."""
        return frozenset(+self._scopes.get(session, Counter())) or frozenset(SCOPES)

    @contextmanager
    def running(self, session: str, scopes: Collection[str]) -> Generator[None]:
        """Count a request of a session while it is answered."""
        counted = Counter(scope for scope in scopes if scope != READ)
        if not session or not counted:
            yield
            return
        self._scopes.setdefault(session, Counter()).update(counted)
        try:
            yield
        finally:
            self._scopes[session].subtract(counted)
            if not +self._scopes[session]:
                del self._scopes[session]


class RequestScopeMiddleware:
    """ASGI middleware that rejects requests beyond the scopes of their token.

    The answer of a person in the legacy era is a request of its own. It needs the scopes of the
    call that asked, so that a lesser token of the same principal cannot approve a change.

    Args:
        app: the application to wrap.
        responder: sends the error responses.
    """

    def __init__(self, app: ASGIApp, responder: ErrorResponder) -> None:
        self._app = app
        self._responder = responder
        self._running_calls = _RunningCalls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        credentials: object = scope.get("auth")
        granted = credentials.scopes if isinstance(credentials, AuthCredentials) else SCOPES
        session = Headers(scope=scope).get(MCP_SESSION_ID_HEADER, "")
        body = await _read_body(receive)
        messages = _messages_in(body)
        needed = _scopes_of_requests(messages)
        answers = any("method" not in message for message in messages)
        needed_now = needed | self._running_calls.scopes_of_answer(session) if answers else needed
        if missing := needed_now - set(granted):
            error = insufficient_scope(granted, missing)
            await self._responder.send(error, scope, receive, send)
            return
        with self._running_calls.running(session, needed):
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
        prompt = _prompt_of(ctx.method, ctx.params)
        if not self._is_prompt_listed(prompt, granted):
            message = f"This prompt needs scopes that the token lacks. {NOTHING_CHANGED}"
            raise MCPError(INVALID_REQUEST, message)
        result = await call_next(ctx)
        match ctx.method, result:
            case "tools/list", {"tools": tools}:
                listed = [tool for tool in tools if is_listed(tool["name"], granted)]
                return {**result, "tools": listed}
            case "prompts/list", {"prompts": prompts}:
                listed = [
                    prompt for prompt in prompts if self._is_prompt_listed(prompt["name"], granted)
                ]
                return {**result, "prompts": listed}
            case _:
                return result

    def _is_prompt_listed(self, name: object, granted: Collection[str]) -> bool:
        needs = self._prompts.get(name, ()) if isinstance(name, str) else ()
        return all(is_listed(tool, granted) for tool in needs)


def _prompt_of(method: str, params: object) -> object:
    """Return the name of the prompt that a request is about; None if it is about none."""
    if method == "prompts/get":
        return read_member(params, "name")
    reference = read_member(params, "ref") if method == "completion/complete" else None
    return read_member(reference, "name")  # a reference to a resource has none


def _messages_in(body: bytes) -> list[_Message]:
    """Return the JSON-RPC messages in `body`; the SDK rejects what is not a message."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return []
    items = cast("list[object]", decoded) if isinstance(decoded, list) else [decoded]
    return [cast("_Message", item) for item in items if isinstance(item, dict)]


def _scopes_of_requests(messages: Sequence[_Message]) -> frozenset[str]:
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
