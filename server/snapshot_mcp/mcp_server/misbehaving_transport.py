"""The transport to an embedded cloud that misbehaves on purpose."""

from pathlib import Path

import httpx

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.sandbox.app import create_app
from snapshot_mcp.sandbox.misbehaving_cloud import MisbehavingCloud, break_connections
from snapshot_mcp.sandbox.misbehaviour import parse_misbehaviour
from snapshot_mcp.settings.environment import EMBEDDED_API_KEY


def misbehaving_transport(database: Path, options: str, clock: Clock) -> httpx.AsyncBaseTransport:
    """Return the transport to an embedded cloud in this process.

    Args:
        database: the SQLite file.
        options: the misbehaviour, as `parse_misbehaviour` reads it.
        clock: source of time.
    """
    cloud = MisbehavingCloud(parse_misbehaviour(options), clock)
    app = create_app(database=database, api_key=EMBEDDED_API_KEY, now=clock.now, misbehaving=cloud)
    return BreakableTransport(break_connections(app))


class BreakableTransport(httpx.ASGITransport):
    """Reports a broken connection as httpx's network transport does."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request to the application."""
        try:
            return await super().handle_async_request(request)
        except ConnectionResetError as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
