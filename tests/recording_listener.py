"""A server that records what clients send first, to see where they connect to."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def remove_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxy settings of this machine from the environment."""
    for name in (*PROXIES, "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def listener() -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Yield the address of a server that records what it receives first, and disconnects."""
    received: list[bytes] = []

    async def receive(stream: SocketStream) -> None:
        async with stream:
            received.append(await stream.receive())

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as server,
        anyio.create_task_group() as group,
    ):
        group.start_soon(server.serve, receive)
        port = server.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - a socket, not a database
        yield f"127.0.0.1:{port}", received
        group.cancel_scope.cancel()
