"""Raw HTTP requests of both eras, for tests of statuses and headers."""

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
CLIENT_INFO = {"name": "test", "version": "1"}


def make_http_client(url: str) -> httpx.Client:
    """Return an HTTP client; creating one is slow, so tests share it."""
    return httpx.Client(base_url=url, trust_env=False, timeout=ANSWER_TIMEOUT_SECONDS)


def bearer_headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


def open_session(
    http: httpx.Client, token: str | None, capabilities: dict[str, Any] | None = None
) -> str:
    """Open a session of the legacy era and return its id."""
    params: dict[str, Any] = {"protocolVersion": LEGACY, "clientInfo": CLIENT_INFO}
    params["capabilities"] = capabilities or {}
    response = _post(http, "initialize", params, bearer_headers(token))
    assert response.status_code == 200, response.text
    return response.headers["mcp-session-id"]


def send_request(
    http: httpx.Client,
    era: str,
    token: str | None,
    method: str,
    params: dict[str, Any] | None = None,
    session: str = "",
    **headers: str,
) -> httpx.Response:
    """Send a request; in the legacy era within `session`, or within a new one."""
    params = dict(params or {})
    headers = {"mcp-protocol-version": era} | bearer_headers(token) | headers
    if era == LEGACY:
        headers["mcp-session-id"] = session or open_session(http, token)
    else:
        params["_meta"] = {
            PROTOCOL_VERSION_META_KEY: MODERN,
            CLIENT_INFO_META_KEY: CLIENT_INFO,
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
    """Send a tool call."""
    params = {"name": tool, "arguments": arguments}
    return send_request(http, era, token, "tools/call", params, session, **headers)


def _post(
    http: httpx.Client, method: str, params: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return http.post("/mcp", json=message, headers=ACCEPT | headers)
