"""Time and memory of this server for accounts of different sizes.

The requests that the server sends to the upstream are recorded. The same pages are then fetched by
a plain HTTP client on as many connections: no server could be faster than that.
"""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from time import perf_counter

import httpx

from bench.fixtures import FIRST_VM_ID
from bench.measurements import (
    MILLISECONDS_PER_SECOND,
    Measure,
    Measures,
    Spread,
    read_memory,
    repeat,
    spread,
    spreads,
)
from bench.servers import (
    DIRECT,
    LIST_TOOL,
    SNAPSHOT_MCP,
    Testbed,
    UpstreamRequests,
    direct_client,
    server_named,
)
from bench.stdio_client import StdioClient

QUERIES: Mapping[str, dict[str, object]] = {
    "first page": {},
    "one VM": {"vm_id": FIRST_VM_ID},
    "failed": {"state": "failed"},
}


def account_key(query: str, size: int, delay: int = 0) -> str:
    """Return the key of a measure of this module."""
    suffix = f"_after_{delay}" if delay else ""
    return f"{query.replace(' ', '_')}_{size}{suffix}"


def measure_account(testbed: Testbed, size: int, seconds: float, delay: int = 0) -> Measures:
    """Measure all queries on one account.

    Args:
        testbed: starts the server.
        size: the number of snapshots in the account.
        seconds: how long each query is repeated.
        delay: milliseconds until the upstream answers.
    """
    measures: Measures = {}
    latency = f", {delay} ms latency" if delay else ""
    with testbed.start(server_named(SNAPSHOT_MCP), size, delay) as client:
        client.call(LIST_TOOL, {"limit": 1})
        for query, arguments in QUERIES.items():
            values, requests = _measure_query(testbed, client, arguments, seconds)
            count, connections = len(requests.paths), requests.connections
            plural = "s" * (connections > 1)
            details = f"{count} GETs on {connections} connection{plural}"
            title = f"{query}, {size:,} snapshots{latency} ({details})"
            measures[account_key(query, size, delay)] = Measure(title, "ms", values)
        peak = read_memory(client.pid).peak
    if peak and not delay:
        title = f"peak memory, {size:,} snapshots"
        measures[account_key("peak", size)] = Measure(title, "MiB", {SNAPSHOT_MCP: spread(peak)})
    return measures


def _measure_query(
    testbed: Testbed, client: StdioClient, arguments: Mapping[str, object], seconds: float
) -> tuple[dict[str, Spread], UpstreamRequests]:
    """Alternate between calling the server and fetching the same pages directly."""
    testbed.take_requests()
    client.timed_call(LIST_TOOL, arguments)
    requests = testbed.take_requests()
    server_seconds: list[float] = []

    def measure_both() -> float:
        server_seconds.append(client.timed_call(LIST_TOOL, arguments))
        return asyncio.run(_fetch(testbed.origin, requests))

    direct_seconds = repeat(measure_both, 2 * seconds)
    values = {SNAPSHOT_MCP: server_seconds, DIRECT: direct_seconds}
    return spreads(values, MILLISECONDS_PER_SECOND), requests


async def _fetch(origin: str, requests: UpstreamRequests) -> float:
    """Return the seconds that fetching the pages takes on connections that are already open."""
    async with direct_client(requests.connections) as http:
        get = partial(_get_each, http, origin)
        connections = range(requests.connections)
        await asyncio.gather(*(get(iter(requests.paths[:1])) for _ in connections))
        started = perf_counter()
        remaining = iter(requests.paths)
        await asyncio.gather(*(get(remaining) for _ in connections))
        return perf_counter() - started


async def _get_each(http: httpx.AsyncClient, origin: str, paths: Iterator[str]) -> None:
    for path in paths:
        (await http.get(origin + path)).raise_for_status()
