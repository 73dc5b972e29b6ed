"""Baseline: a server with one tool on the same SDK, which passes the cloud's answer through.

Usage: `python -m bench.baseline_server [PORT]`. Without a port it serves stdio, with a port
Streamable HTTP.
"""

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING

from mcp.server.mcpserver import MCPServer

if TYPE_CHECKING:
    import httpx


def main() -> None:
    """Serve until stdin is closed or the process is ended."""
    server = MCPServer(name="baseline", log_level="WARNING")

    @server.tool(structured_output=False)
    async def list_snapshots(  # pyright: ignore[reportUnusedFunction] - the server calls it
        page: int = 1, page_size: int = 20
    ) -> str:
        """List snapshots."""
        response = await _client().get(
            "core/snapshots", params={"page": page, "pageSize": page_size}
        )
        response.raise_for_status()
        return json.dumps(response.json(), separators=(",", ":"), ensure_ascii=False)

    if len(sys.argv) > 1:
        _serve_http(server, int(sys.argv[1]))
    else:
        server.run()


@cache
def _client() -> "httpx.AsyncClient":
    import httpx  # noqa: PLC0415 - the fastest possible start imports no HTTP client

    return httpx.AsyncClient(base_url=os.environ["BENCH_UPSTREAM"], trust_env=False)


def _serve_http(server: MCPServer, port: int) -> None:
    import uvicorn  # noqa: PLC0415 - only this transport needs it

    uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=port, log_config=None)


if __name__ == "__main__":
    main()
