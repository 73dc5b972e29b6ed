"""Two replicas that want more of the cloud than its limit allows: it sees the limit, no more."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from mcp import Client

from snapshot_mcp.cloud.rate_limit import REQUESTS_PER_MINUTE, RESERVED_FOR_WRITES
from tests.conftest import ERAS, ask
from tests.postgres.server import Server
from tests.processes.helpers import KEY
from tests.replicas.door import Door, most_in_a_minute
from tests.replicas.replicas import cloud, replicas

READERS = 8
"""Of each replica: as many as may read at once."""

READS = REQUESTS_PER_MINUTE + 100
SNAPSHOTS = 5
pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(1_800)]


async def test_replicas_that_want_more_than_the_limit_together_send_the_limit_and_wait(
    tmp_path: Path, postgres: Server
) -> None:
    with cloud(tmp_path / "cloud") as the_cloud, replicas(tmp_path, 2) as both:
        async with Door([the_cloud.url]).open() as to_the_cloud:
            settings = {
                "SNAPSHOT_MCP_API_KEY": KEY,
                "SNAPSHOT_MCP_API_URL": f"{to_the_cloud.url}/v1",
                "SNAPSHOT_MCP_DATABASE_URL": postgres.make("limit"),
                "SNAPSHOT_MCP_SIGNING_KEY": "k" * 43,
                "SNAPSHOT_MCP_TIMEOUT": "60",
            }
            for replica in both:
                await anyio.to_thread.run_sync(lambda it=replica: it.start(**settings))
            read = await burst([it.url for it in both])
            arrivals, passed = sorted(to_the_cloud.arrivals), to_the_cloud.passed
    most = most_in_a_minute(arrivals)
    minutes = Counter(int((at - arrivals[0]) // 60) for at in arrivals)
    print(f"{len(arrivals)} requests, at most {most} in a minute; by minute: {dict(minutes)}")  # noqa: T201 - with -s
    assert {it.status for it in passed} & {429} == set()
    assert sum(it.method != "GET" for it in passed) == SNAPSHOTS
    assert sum(read) == READS
    assert min(read) >= READS / 10
    # All that reads may use, and writes beside them: more was wanted, and nothing more came.
    assert REQUESTS_PER_MINUTE - RESERVED_FOR_WRITES < most <= REQUESTS_PER_MINUTE
    assert minutes[1] >= 50


async def burst(urls: Sequence[str]) -> list[int]:
    """Read from both at once, as fast as they go; how much each of them answered."""
    numbers, read = iter(range(READS)), [0 for _ in urls]

    async def reads(client: Client, place: int) -> None:
        for _ in numbers:
            await ask(client, "list_virtual_machines", limit=1)
            read[place] += 1

    async def writes(client: Client) -> None:
        vms = (await ask(client, "list_virtual_machines", limit=100))["virtual_machines"]
        able = [vm["id"] for vm in vms if vm["can_snapshot"]]
        for vm in able[:SNAPSHOTS]:
            order = {"vm_id": vm, "name": f"burst-{vm}", "allow_interruption": True}
            await ask(client, "create_snapshot", **order, wait_seconds=0)

    async with (
        Client(f"{urls[0]}/mcp", mode=ERAS[1]) as first,
        Client(f"{urls[1]}/mcp", mode=ERAS[1]) as second,
        anyio.create_task_group() as group,
    ):
        group.start_soon(writes, first)
        for place, client in enumerate((first, second)):
            for _ in range(READERS):
                group.start_soon(reads, client, place)
    return read
