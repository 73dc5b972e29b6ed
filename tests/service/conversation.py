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

LEGACY, MODERN = "2025-11-25", "2026-07-28"
ERAS = (LEGACY, MODERN)
INFO = {"name": "test", "version": "1"}


def make_http_client(url: str) -> httpx.Client:
    """What asks; one for many requests, because each takes long to make."""
    return httpx.Client(base_url=url, trust_env=False, timeout=ANSWER_TIMEOUT_SECONDS)


def bearer_headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


def open_session(http: httpx.Client, token: str | None) -> str:
    """The id of a new session of the older era."""
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": INFO}
    answer = _post(http, "initialize", params, bearer_headers(token))
    assert answer.status_code == 200, answer.text
    return answer.headers["mcp-session-id"]


def send_request(
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
    headers = {"mcp-protocol-version": era} | bearer_headers(token) | headers
    if era == LEGACY:
        headers["mcp-session-id"] = session or open_session(http, token)
    else:
        params["_meta"] = {
            PROTOCOL_VERSION_META_KEY: MODERN,
            CLIENT_INFO_META_KEY: INFO,
            CLIENT_CAPABILITIES_META_KEY: {},
        }
        headers["mcp-method"] = method
        if name := params.get("name", params.get("uri")):
            headers["mcp-name"] = name
    return _post(http, method, params, headers)


def call_tool(
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
    return send_request(http, era, token, "tools/call", params, session, **headers)


def _post(
    http: httpx.Client, method: str, params: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return http.post("/mcp", json=message, headers=ACCEPT | headers)
