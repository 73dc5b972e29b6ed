"""How the time and the memory of our server grow with the account.

What the server asks of the upstream is recorded, and the same pages are then fetched with a bare
HTTP client on as many connections: the time that no server could go below.
"""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from time import perf_counter

import httpx

from bench.fixtures import FIRST_VM_ID
from bench.measurements import (
    MILLISECONDS,
    Measure,
    Measures,
    Spread,
    memory,
    repeated,
    spread,
    spreads,
)
from bench.servers import DIRECT, LIST_TOOL, OURS, Asked, World, direct_client, server_named
from bench.stdio_client import StdioClient

QUERIES: Mapping[str, dict[str, object]] = {
    "first page": {},
    "of one VM": {"vm_id": FIRST_VM_ID},
    "failed": {"state": "failed"},
}


def growth_key(query: str, size: int, delay: int = 0) -> str:
    """The key of a measure of this file."""
    late = f"_after_{delay}" if delay else ""
    return f"{query.replace(' ', '_')}_{size}{late}"


def measure_account(world: World, size: int, seconds: float, delay: int = 0) -> Measures:
    """Measure an account.

    Args:
        world: the upstream.
        size: its number of snapshots.
        seconds: how long each query is repeated.
        delay: milliseconds after which the upstream answers.
    """
    measures: Measures = {}
    late = f", each answer after {delay} ms" if delay else ""
    with world.loaded(server_named(OURS), size, delay) as client:
        client.call(LIST_TOOL, {"limit": 1})
        for query, arguments in QUERIES.items():
            values, asked = _measure_query(world, client, arguments, seconds)
            pages, connections = len(asked.paths), asked.connections
            title = f"{query}, {size:,} snapshots{late} ({pages} GET on {connections})"
            measures[growth_key(query, size, delay)] = Measure(title, "ms", values)
        peak = memory(client.pid).peak
    if peak and not delay:
        title = f"peak memory, {size:,} snapshots"
        measures[growth_key("peak", size)] = Measure(title, "MiB", {OURS: spread(peak)})
    return measures


def _measure_query(
    world: World, client: StdioClient, arguments: Mapping[str, object], seconds: float
) -> tuple[dict[str, Spread], Asked]:
    """Let ours and the bare client do the same in turn."""
    world.seen()
    client.timed_call(LIST_TOOL, arguments)
    asked = world.seen()
    ours: list[float] = []

    def both() -> float:
        ours.append(client.timed_call(LIST_TOOL, arguments))
        return asyncio.run(_fetch(world.origin, asked))

    direct = repeated(both, 2 * seconds)
    return spreads({OURS: ours, DIRECT: direct}, MILLISECONDS), asked


async def _fetch(origin: str, asked: Asked) -> float:
    """The seconds that it takes to fetch the pages, on connections that stand already."""
    async with direct_client(asked.connections) as http:
        get = partial(_get_each, http, origin)
        await asyncio.gather(*(get(iter(asked.paths[:1])) for _ in range(asked.connections)))
        began = perf_counter()
        rest = iter(asked.paths)
        await asyncio.gather(*(get(rest) for _ in range(asked.connections)))
        return perf_counter() - began


async def _get_each(http: httpx.AsyncClient, origin: str, paths: Iterator[str]) -> None:
    for path in paths:
        (await http.get(origin + path)).raise_for_status()
