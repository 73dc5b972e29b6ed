"""A service with an honest and a greedy principal, and the calls of the honest one."""

import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from snapshot_mcp.settings.environment import CLOUD_FILE
from tests.conftest import call_tool
from tests.processes.helpers import KEY, free_port
from tests.processes.http_server import http_server
from tests.sandbox.sandbox_process import start_sandbox
from tests.service.attacks import Attacker

TOKENS = {name: secrets.token_hex(32) for name in ("honest", "greedy")}
READ_PAUSE_SECONDS = 0.25
CHANGES = 2
SETTLE_SECONDS = 2.0


class Measured(NamedTuple):
    """The calls of the honest principal during one attack.

    Attributes:
        seconds: the times of its reads.
        refused: the texts of the errors that it received.
    """

    seconds: list[float]
    refused: list[str]


@contextmanager
def start_service(folder: Path) -> Generator[int]:
    """Start the embedded cloud and a service for two principals, and yield the service's port."""
    tokens, port = folder / "tokens", free_port()
    tokens.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    tokens.chmod(0o600)
    with start_sandbox(folder / CLOUD_FILE, KEY) as cloud:
        settings = {
            "SNAPSHOT_MCP_API_URL": cloud.url,
            "SNAPSHOT_MCP_API_KEY": KEY,
            "SNAPSHOT_MCP_BEARER_TOKEN_FILE": str(tokens),
        }
        with http_server(folder, port, **settings):
            yield port


async def measure(port: int, seconds: float) -> Measured:
    """Read for some seconds, change something, and return the times and the refusals."""
    times, refused = list[float](), list[str]()
    headers = {"authorization": f"Bearer {TOKENS['honest']}"}
    async with httpx2.AsyncClient(headers=headers, timeout=120, trust_env=False) as http:
        transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
        async with Client(transport, mode="2026-07-28") as client:
            vms = await call_tool(client, "list_virtual_machines", limit=100)
            ids: list[int] = [vm["id"] for vm in vms["virtual_machines"]]
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                started = time.perf_counter()
                result = await client.call_tool("list_snapshots", {})
                times.append(time.perf_counter() - started)
                refused += [str(result.content)] if result.is_error else []
                await anyio.sleep(READ_PAUSE_SECONDS)
            for number in range(CHANGES):
                name = f"honest-{secrets.token_hex(4)}"
                arguments = {"vm_id": ids[number], "name": name, "allow_interruption": True}
                result = await client.call_tool("create_snapshot", arguments)
                text = str(result.content)
                refused += [text] if result.is_error and "busy" not in text else []
    return Measured(times, refused)


async def measure_during(port: int, means: str, seconds: float) -> tuple[Measured, Attacker]:
    """Measure while the greedy principal uses these means; return the greedy one, too."""
    attacker, results = Attacker(port, TOKENS["greedy"]), list[Measured]()
    async with anyio.create_task_group() as group:
        group.start_soon(attacker.means[means])
        await anyio.sleep(SETTLE_SECONDS)
        results.append(await measure(port, seconds))
        group.cancel_scope.cancel()
    return results[0], attacker
