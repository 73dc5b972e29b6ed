"""The usual alternative: fastmcp's `from_openapi` on a document that describes the same calls.

Usage: `python -m bench.fastmcp_server [PORT]`. Without a port it serves stdio, with a port
Streamable HTTP.
"""

import importlib
import os
import sys
from typing import Any

import httpx2

from bench.openapi_document import build_document


def main() -> None:
    """Serve until stdin is closed or the process is ended."""
    # fastmcp is installed only in the benchmark's environment, so its types are not available.
    fastmcp: Any = importlib.import_module("fastmcp")
    client = httpx2.AsyncClient(base_url=os.environ["BENCH_UPSTREAM"], trust_env=False)
    server = fastmcp.FastMCP.from_openapi(build_document(), client=client, name="fastmcp")
    if len(sys.argv) > 1:
        server.run(
            transport="http",
            host="127.0.0.1",
            port=int(sys.argv[1]),
            show_banner=False,
            log_level="WARNING",
        )
    else:
        server.run(show_banner=False, log_level="WARNING")


if __name__ == "__main__":
    main()
