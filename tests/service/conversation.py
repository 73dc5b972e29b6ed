"""One request of either era in raw HTTP, so that its status and headers are seen."""

from typing import Any

import httpx
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)

from tests.processes.http_server import ACCEPT
from tests.waiting import ANSWER_TIMEOUT_SECONDS

OLD, NEW = "2025-11-25", "2026-07-28"
ERAS = (OLD, NEW)
INFO = {"name": "test", "version": "1"}


def client_of(url: str) -> httpx.Client:
    """What asks; one for many requests, because each takes long to make."""
    return httpx.Client(base_url=url, trust_env=False, timeout=ANSWER_TIMEOUT_SECONDS)


def bearing(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


def opened(http: httpx.Client, token: str | None) -> str:
    """The id of a new session of the older era."""
    params = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": INFO}
    answer = _post(http, "initialize", params, bearing(token))
    assert answer.status_code == 200, answer.text
    return answer.headers["mcp-session-id"]


def ask(
    http: httpx.Client,
    era: str,
    token: str | None,
    method: str,
    params: dict[str, Any] | None = None,
    session: str = "",
    **headers: str,
) -> httpx.Response:
    """Ask for `method`; in the older era within `session`, or a new one."""
    params = dict(params or {})
    headers = {"mcp-protocol-version": era} | bearing(token) | headers
    if era == OLD:
        headers["mcp-session-id"] = session or opened(http, token)
    else:
        params["_meta"] = {
            PROTOCOL_VERSION_META_KEY: NEW,
            CLIENT_INFO_META_KEY: INFO,
            CLIENT_CAPABILITIES_META_KEY: {},
        }
        headers["mcp-method"] = method
        if name := params.get("name", params.get("uri")):
            headers["mcp-name"] = name
    return _post(http, method, params, headers)


def call(
    http: httpx.Client,
    era: str,
    token: str | None,
    tool: str,
    arguments: dict[str, Any],
    session: str = "",
    **headers: str,
) -> httpx.Response:
    """Call a tool."""
    params = {"name": tool, "arguments": arguments}
    return ask(http, era, token, "tools/call", params, session, **headers)


def _post(
    http: httpx.Client, method: str, params: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return http.post("/mcp", json=message, headers=ACCEPT | headers)
