"""The answer of a person needs the scopes of the call that asked, in both eras."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import httpx
import pytest
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from starlette.authentication import AuthCredentials
from starlette.types import Receive, Scope, Send

from snapshot_mcp.transports.http.error_responses import ErrorResponder
from snapshot_mcp.transports.http.scope_middleware import RequestScopeMiddleware
from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPES, WRITE
from tests.processes.http_server import ACCEPT
from tests.service.conftest import Service, service
from tests.service.raw_requests import (
    CLIENT_INFO,
    ERAS,
    LEGACY,
    MODERN,
    bearer_headers,
    call_tool,
    open_session,
)

__all__ = ["service"]

ANSWER = {
    "jsonrpc": "2.0",
    "id": 0,
    "result": {"action": "accept", "content": {"words": "training-box-golden"}},
}
ASKING: dict[str, Any] = {"elicitation": {}}
CALLS = {
    "delete_snapshot": {DELETE},
    "apply_retention": {DELETE},
    "restore_snapshot": {WRITE},
    "create_snapshot": {WRITE},
}


def call_message(tool: str) -> dict[str, object]:
    params: dict[str, object] = {"name": tool, "arguments": {}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


class OpenService:
    """An application behind the scope check, in which calls stay open until they are released."""

    def __init__(self) -> None:
        self.received: list[object] = []
        self.release = anyio.Event()
        self._checked = RequestScopeMiddleware(self._serve, ErrorResponder(None))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        message = json.loads((await receive())["body"])
        self.received.append(message)
        if "method" in message:
            await self.release.wait()
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def post(self, message: object, scopes: Sequence[str], session: str = "s1") -> int:
        """Send a message with a token of these scopes; return the status."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._checked({**scope, "auth": AuthCredentials(scopes)}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            headers = {"mcp-session-id": session} if session else {}
            response = await client.post("http://test/mcp", json=message, headers=headers)
            return response.status_code


@pytest.mark.parametrize("tool", CALLS)
@pytest.mark.parametrize("caller", [[READ, WRITE, DELETE], None], ids=["all", "needed"])
async def test_an_answer_needs_the_scope_of_the_call_that_asked(
    tool: str, caller: list[str] | None
) -> None:
    needed = CALLS[tool]
    opened = OpenService()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened.post, call_message(tool), caller or [*needed])
            while not opened.received:
                await anyio.lowlevel.checkpoint()
            for granted in ([], [READ], [*({*SCOPES} - needed)]):
                assert await opened.post(ANSWER, granted) == 403
                assert await opened.post([ANSWER], granted) == 403
            assert ANSWER not in opened.received
            assert await opened.post(ANSWER, [*needed], "another") == 403
            assert await opened.post(ANSWER, [*needed]) == 202
            opened.release.set()
    assert opened.received.count(ANSWER) == 1


async def test_an_answer_without_an_open_call_needs_all_scopes() -> None:
    opened = OpenService()
    for session in ("s1", ""):
        for granted in ([READ], [READ, WRITE], [WRITE, DELETE]):
            assert await opened.post(ANSWER, granted, session) == 403
        assert await opened.post(ANSWER, SCOPES, session) == 202


async def test_the_scopes_of_a_call_are_forgotten_when_it_ends() -> None:
    opened = OpenService()
    opened.release.set()
    assert await opened.post(call_message("restore_snapshot"), [WRITE]) == 202
    assert await opened.post(ANSWER, [WRITE]) == 403
    assert await opened.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, []) == 202
    assert await opened.post("not a message", []) == 202


def plan_deletion(service: Service, era: str, token: str) -> dict[str, Any]:
    """Plan the deletion of a ready snapshot; return the arguments that commit it."""

    def structured(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        response = call_tool(service.http, era, token, tool, arguments)
        data = response.text.rpartition("data: ")[2] if era == LEGACY else response.text
        return json.loads(data)["result"]["structuredContent"]

    listed = structured("list_snapshots", {"state": "ready", "limit": 1})
    target = {"snapshot_id": listed["snapshots"][0]["id"]}
    plan = structured("delete_snapshot", target)
    return target | {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}


@pytest.mark.slow
@pytest.mark.parametrize("era", ERAS)
def test_the_answer_of_a_lesser_token_or_of_another_principal_deletes_nothing(
    service: Service, era: str
) -> None:
    full = service.issuer.token(" ".join(SCOPES), sub=f"alice-{era}")
    lesser = service.issuer.token(f"{READ} {WRITE}", sub=f"alice-{era}")
    other = service.issuer.token(" ".join(SCOPES), sub=f"bob-{era}")
    commit = plan_deletion(service, era, full)
    if era == MODERN:
        check_retried_calls(service, commit, full, lesser, other)
    else:
        check_answers_in_a_session(service, commit, full, lesser, other)
    assert service.upstream.writes == []


def check_retried_calls(
    service: Service, commit: dict[str, Any], full: str, lesser: str, other: str
) -> None:
    def call(token: str, **answer: object) -> httpx.Response:
        meta = {
            PROTOCOL_VERSION_META_KEY: MODERN,
            CLIENT_INFO_META_KEY: CLIENT_INFO,
            CLIENT_CAPABILITIES_META_KEY: ASKING,
        }
        params = {"name": "delete_snapshot", "arguments": commit, "_meta": meta, **answer}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call"}
        headers |= {"mcp-name": "delete_snapshot"} | ACCEPT | bearer_headers(token)
        return service.http.post("/mcp", json=message, headers=headers)

    state = call(full).json()["result"]["requestState"]
    words = {"words": commit["confirm"]}
    responses = {"consent": {"action": "accept", "content": words}}
    for token in (lesser, other):
        response = call(token, inputResponses=responses, requestState=state)
        assert response.status_code in {400, 403}


def check_answers_in_a_session(
    service: Service, commit: dict[str, Any], full: str, lesser: str, other: str
) -> None:
    session = open_session(service.http, full, ASKING)
    params = {"name": "delete_snapshot", "arguments": commit}
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
    headers = {"mcp-session-id": session, "mcp-protocol-version": LEGACY}
    with service.http.stream(
        "POST", "/mcp", json=message, headers=headers | ACCEPT | bearer_headers(full)
    ) as stream:
        events = (line for line in stream.iter_lines() if line.startswith("data: {"))
        asked = json.loads(next(events).removeprefix("data: "))
        assert asked["method"] == "elicitation/create"
        accept = ANSWER | {"id": asked["id"]}
        accept["result"] = {"action": "accept", "content": {"words": commit["confirm"]}}
        for token, status in ((lesser, 403), (other, 404)):
            answered = service.http.post(
                "/mcp", json=accept, headers=headers | ACCEPT | bearer_headers(token)
            )
            assert answered.status_code == status
        decline = ANSWER | {"id": asked["id"], "result": {"action": "decline"}}
        answered = service.http.post(
            "/mcp", json=decline, headers=headers | ACCEPT | bearer_headers(full)
        )
        assert answered.status_code == 202
        result = json.loads(next(events).removeprefix("data: "))["result"]
    assert "declined" in result["content"][0]["text"]
