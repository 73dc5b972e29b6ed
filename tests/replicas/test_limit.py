"""Two replicas that need more requests than the cloud's rate limit allows."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from mcp import Client

from snapshot_mcp.cloud.rate_limit import REQUESTS_PER_MINUTE, RESERVED_FOR_WRITES
from tests.conftest import ERAS, call_tool
from tests.postgres.server import Server
from tests.processes.helpers import KEY
from tests.replicas.processes import cloud, replicas
from tests.replicas.proxy import Proxy, max_in_a_minute

READERS = 8
"""Per replica: the number of concurrent reads."""

READS = REQUESTS_PER_MINUTE + 100
SNAPSHOTS = 5
pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(1_800)]


async def test_replicas_that_need_more_than_the_rate_limit_wait(
    tmp_path: Path, postgres: Server
) -> None:
    with cloud(tmp_path / "cloud") as cloud_process, replicas(tmp_path, 2) as processes:
        async with Proxy([cloud_process.url]).open() as cloud_proxy:
            settings = {
                "SNAPSHOT_MCP_API_KEY": KEY,
                "SNAPSHOT_MCP_API_URL": f"{cloud_proxy.url}/v1",
                "SNAPSHOT_MCP_DATABASE_URL": postgres.create_database("limit"),
                "SNAPSHOT_MCP_SIGNING_KEY": "k" * 43,
                "SNAPSHOT_MCP_TIMEOUT": "60",
            }
            for replica in processes:
                await anyio.to_thread.run_sync(lambda process=replica: process.start(**settings))
            read = await read_and_write([process.url for process in processes])
            arrivals, forwarded = sorted(cloud_proxy.arrivals), cloud_proxy.forwarded
    maximum = max_in_a_minute(arrivals)
    minutes = Counter(int((at - arrivals[0]) // 60) for at in arrivals)
    print(f"{len(arrivals)} requests, at most {maximum} in a minute; by minute: {dict(minutes)}")  # noqa: T201 - with -s
    assert {request.status for request in forwarded} & {429} == set()
    assert sum(request.method != "GET" for request in forwarded) == SNAPSHOTS
    assert sum(read) == READS
    assert min(read) >= READS / 10
    # Reads used their full share and writes were added, but the limit was never exceeded.
    assert REQUESTS_PER_MINUTE - RESERVED_FOR_WRITES < maximum <= REQUESTS_PER_MINUTE
    assert minutes[1] >= 50


async def read_and_write(urls: Sequence[str]) -> list[int]:
    """Read from both replicas as fast as possible; return the number of answers of each."""
    numbers, read = iter(range(READS)), [0 for _ in urls]

    async def read_repeatedly(client: Client, replica: int) -> None:
        for _ in numbers:
            await call_tool(client, "list_virtual_machines", limit=1)
            read[replica] += 1

    async def create_snapshots(client: Client) -> None:
        vms = (await call_tool(client, "list_virtual_machines", limit=100))["virtual_machines"]
        vm_ids = [vm["id"] for vm in vms if vm["can_snapshot"]]
        for vm_id in vm_ids[:SNAPSHOTS]:
            arguments = {"vm_id": vm_id, "name": f"burst-{vm_id}", "allow_interruption": True}
            await call_tool(client, "create_snapshot", **arguments, wait_seconds=0)

    async with (
        Client(f"{urls[0]}/mcp", mode=ERAS[1]) as first,
        Client(f"{urls[1]}/mcp", mode=ERAS[1]) as second,
        anyio.create_task_group() as group,
    ):
        group.start_soon(create_snapshots, first)
        for replica, client in enumerate((first, second)):
            for _ in range(READERS):
                group.start_soon(read_repeatedly, client, replica)
    return read
