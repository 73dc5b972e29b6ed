"""Latency of calls over stdio: sequential calls and concurrent calls.

The account contains as many snapshots as one call lists, so that every server can answer with the
single GET that is also sent directly.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import median
from time import perf_counter
from typing import Self

import httpx

from bench.measurements import MILLISECONDS_PER_SECOND, Measure, Measures, read_memory, spreads
from bench.servers import (
    DIRECT,
    LIST_SIZE,
    LIST_TOOL,
    SERVERS,
    Server,
    Testbed,
    direct_client,
    server_named,
)
from bench.stdio_client import StdioClient, parse_tool_result

WARM_UP_CALLS = 5
CONCURRENT_CALLS = 20

Clients = Mapping[str, StdioClient]
Caller = Callable[[int], list[float]]
"""Sends the given number of calls and returns the seconds that each took."""


def measure_sequential_calls(testbed: Testbed, blocks: int, calls_per_block: int) -> Measures:
    """Call each server in blocks, alternating with the same request sent directly.

    Peak memory is read at the end, after all calls.
    """
    with ExitStack() as stack:
        clients = _start_clients(testbed, stack)
        direct = stack.enter_context(_DirectCaller(testbed.account_url(LIST_SIZE)))
        callers: dict[str, Caller] = {
            server.name: partial(_call_repeatedly, clients, server) for server in SERVERS
        }
        seconds, overheads = _call_in_turn(
            callers | {DIRECT: direct.call_repeatedly}, blocks, calls_per_block
        )
        get_counts = {name: [_count_gets(testbed, clients, name)] for name in clients}
        peaks = {name: read_memory(client.pid).peak for name, client in clients.items()}
    calls = blocks * calls_per_block
    return {
        "read": Measure(
            f"list {LIST_SIZE} snapshots, one call at a time",
            "ms",
            spreads(seconds, MILLISECONDS_PER_SECOND),
        ),
        "overhead": Measure(
            "overhead over the direct GET", "ms", spreads(overheads, MILLISECONDS_PER_SECOND)
        ),
        "gets": Measure("GET requests per call", "", spreads(get_counts)),
        "peak": Measure(f"peak memory after {calls:,} calls", "MiB", spreads(peaks)),
    }


def _call_in_turn(
    callers: Mapping[str, Caller], blocks: int, calls: int
) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
    """Return the seconds of every call, and each block's median minus that of the direct calls."""
    seconds: dict[str, list[float]] = {name: [] for name in callers}
    overheads: dict[str, list[float]] = {name: [] for name in callers if name != DIRECT}
    order = deque(callers)
    for _ in range(blocks):
        block = {name: callers[name](calls) for name in order}
        order.rotate()  # so that no server always follows the same one
        for name, block_seconds in block.items():
            seconds[name] += block_seconds
        for name, server_overheads in overheads.items():
            server_overheads.append(median(block[name]) - median(block[DIRECT]))
    return seconds, overheads


def measure_concurrent_calls(testbed: Testbed, rounds: int) -> Measures:
    """Measure the time until all of several concurrent calls are answered."""
    seconds: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    with ExitStack() as stack:
        clients = _start_clients(testbed, stack)
        for _ in range(rounds):
            for server in SERVERS:
                seconds[server.name].append(_call_concurrently(clients[server.name], server))
    title = f"{CONCURRENT_CALLS} concurrent calls, until all are answered"
    return {"at_once": Measure(title, "ms", spreads(seconds, MILLISECONDS_PER_SECOND))}


def _start_clients(testbed: Testbed, stack: ExitStack) -> Clients:
    clients = {
        server.name: stack.enter_context(testbed.start(server, LIST_SIZE)) for server in SERVERS
    }
    for server in SERVERS:
        _call_repeatedly(clients, server, WARM_UP_CALLS)
        _call_concurrently(clients[server.name], server)
    return clients


def _call_repeatedly(clients: Clients, server: Server, calls: int) -> list[float]:
    return [_call(clients, server) for _ in range(calls)]


def _call(clients: Clients, server: Server) -> float:
    return clients[server.name].timed_call(LIST_TOOL, server.list_arguments(LIST_SIZE))


def _count_gets(testbed: Testbed, clients: Clients, name: str) -> float:
    testbed.take_requests()
    _call(clients, server_named(name))
    return len(testbed.take_requests().paths)


def _call_concurrently(client: StdioClient, server: Server) -> float:
    started = perf_counter()
    for _ in range(CONCURRENT_CALLS):
        client.send_call(LIST_TOOL, server.list_arguments(LIST_SIZE))
    answers = [client.next_answer() for _ in range(CONCURRENT_CALLS)]
    for answer in answers:
        parse_tool_result(answer)
    return answers[-1].received_at - started


class _DirectCaller:
    """Sends the request itself with a plain HTTP client on one connection."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/core/snapshots?page=1&pageSize={LIST_SIZE}"
        self._runner = asyncio.Runner()
        self._http = direct_client()

    def __enter__(self) -> Self:
        self.call_repeatedly(WARM_UP_CALLS)
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def call_repeatedly(self, calls: int) -> list[float]:
        return self._runner.run(_get_repeatedly(self._http, self._url, calls))


async def _get_repeatedly(http: httpx.AsyncClient, url: str, calls: int) -> list[float]:
    seconds: list[float] = []
    for _ in range(calls):
        sent = perf_counter()
        (await http.get(url)).raise_for_status()
        seconds.append(perf_counter() - sent)
    return seconds
