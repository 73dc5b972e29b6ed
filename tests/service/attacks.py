"""The six means by which one principal could keep the others of a service from being served."""

import itertools
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)

from tests.processes.http_server import ACCEPT
from tests.service.raw_requests import CLIENT_INFO, LEGACY, MODERN

SESSIONS = 10_000
STREAMS = 300
BODIES = 300
ARGUMENTS = 60_000
CREATES = 60
PAUSE_SECONDS = 0.1
"""Pause between two calls: the quota of 600 requests a minute."""

NO_VM = 1
"""Changes of this VM wait like others, and are refused when it is their turn."""

_TIMEOUT_SECONDS = 120


class Attacker:
    """A principal that uses as much of a service as it can.

    Args:
        port: the port of the service on this machine.
        token: the bearer token.

    Attributes:
        statuses: the number of responses by HTTP status.
        refusals: the texts of the errors of tools.
    """

    def __init__(self, port: int, token: str) -> None:
        self.statuses = Counter[int]()
        self.refusals = Counter[str]()
        self._port = port
        self._authorization = {"authorization": f"Bearer {token}"}
        self._numbers = itertools.count()

    @property
    def means(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """The six means by name; each goes on until it is cancelled."""
        return {
            "10,000 sessions": self.open_sessions,
            "300 unfinished bodies": self.leave_bodies_unfinished,
            "60,000 unknown arguments": self.send_unknown_arguments,
            "300 open streams": self.open_streams,
            "60 changes waiting": self.queue_changes,
            "all reads of a minute": self.read_repeatedly,
        }

    async def open_sessions(self) -> None:
        """Open sessions at the rate of the quota, and keep them."""
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        async with self._client() as http:
            for _ in range(SESSIONS):
                await self._post(http, "initialize", params, {})
                await anyio.sleep(PAUSE_SECONDS)

    async def leave_bodies_unfinished(self) -> None:
        """Send the beginnings of bodies of 1 MB and of 60 kB, and keep the connections."""
        async with anyio.create_task_group() as group:
            for number in range(BODIES):
                group.start_soon(self._leave_body, 1_000_000 if number % 2 else 60_000)
                await anyio.sleep(PAUSE_SECONDS)

    async def send_unknown_arguments(self) -> None:
        """Call a tool with thousands of arguments, within and beyond the limit of a body."""
        fitting = {f"a{number}": 1 for number in range(6_000)}
        beyond = {f"a{number}": 1 for number in range(ARGUMENTS)}
        async with self._client() as http:
            while True:
                for arguments in (fitting, beyond):
                    await self._call(http, "list_snapshots", arguments)
                    await anyio.sleep(PAUSE_SECONDS)

    async def open_streams(self) -> None:
        """Open streams of 2026-07-28 at the rate of the quota, and keep them."""
        async with self._client() as http, anyio.create_task_group() as group:
            for _ in range(STREAMS):
                group.start_soon(self._listen, http)
                await anyio.sleep(PAUSE_SECONDS)

    async def queue_changes(self) -> None:
        """Keep changes in the queue."""
        async with self._client() as http, anyio.create_task_group() as group:
            for _ in range(CREATES):
                group.start_soon(self._create_repeatedly, http)

    async def read_repeatedly(self) -> None:
        """Read from the cloud at the rate of the quota, ten calls at a time."""
        async with self._client() as http, anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(self._read_repeatedly, http)

    async def _create_repeatedly(self, http: httpx.AsyncClient) -> None:
        while True:
            name = f"queued-{next(self._numbers)}"
            await self._call(http, "create_snapshot", {"vm_id": NO_VM, "name": name})
            await anyio.sleep(CREATES * PAUSE_SECONDS)

    async def _read_repeatedly(self, http: httpx.AsyncClient) -> None:
        while True:
            await self._call(http, "list_virtual_machines", {"limit": 1})
            await anyio.sleep(10 * PAUSE_SECONDS)

    async def _listen(self, http: httpx.AsyncClient) -> None:
        filters = {"resourceSubscriptions": ["snapshot://policy"]}
        await self._post_modern(http, "subscriptions/listen", {"notifications": filters})

    async def _call(
        self, http: httpx.AsyncClient, tool: str, arguments: Mapping[str, object]
    ) -> None:
        params = {"name": tool, "arguments": arguments}
        response = await self._post_modern(http, "tools/call", params)
        if response is None or not response.is_success:
            return
        result = json.loads(response.text.rsplit("data: ", 1)[-1])["result"]
        if result.get("isError"):
            self.refusals[result["content"][0]["text"]] += 1

    async def _post_modern(
        self, http: httpx.AsyncClient, method: str, params: Mapping[str, Any]
    ) -> httpx.Response | None:
        meta = {
            PROTOCOL_VERSION_META_KEY: MODERN,
            CLIENT_INFO_META_KEY: CLIENT_INFO,
            CLIENT_CAPABILITIES_META_KEY: {},
        }
        headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if "name" in params:
            headers["mcp-name"] = params["name"]
        return await self._post(http, method, {**params, "_meta": meta}, headers)

    async def _post(
        self,
        http: httpx.AsyncClient,
        method: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> httpx.Response | None:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            response = await http.post("/mcp", json=message, headers=dict(headers))
        except httpx.TransportError:
            return None
        self.statuses[response.status_code] += 1
        return response

    async def _leave_body(self, size: int) -> None:
        headers = {"host": f"127.0.0.1:{self._port}", "content-type": "application/json"}
        headers |= ACCEPT | self._authorization | {"content-length": str(size)}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(["POST /mcp HTTP/1.1", *lines, "", "{"])
        with suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            async with await anyio.connect_tcp("127.0.0.1", self._port) as stream:
                await stream.send(head.encode())
                answer = await stream.receive()
                self.statuses[int(answer.split(b" ", 2)[1])] += 1

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._port}",
            headers=ACCEPT | self._authorization,
            timeout=_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        ) as http:
            yield http
