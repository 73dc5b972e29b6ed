"""Calls over stdio: one after the other, and many at once.

The account holds as many snapshots as one call lists, so that every server can answer with the one
GET that is sent directly too.
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

from bench.measurements import MILLISECONDS, Measure, Measures, memory, spreads
from bench.servers import (
    DIRECT,
    LIST_ROWS,
    LIST_TOOL,
    SERVERS,
    Server,
    World,
    direct_client,
    server_named,
)
from bench.stdio_client import StdioClient, succeeded

WARM_CALLS = 5
AT_ONCE = 20

Clients = Mapping[str, StdioClient]
Caller = Callable[[int], list[float]]
"""Makes so many calls, and tells the seconds of each."""


def measure_calls(world: World, blocks: int, calls_of_a_block: int) -> Measures:
    """Call each server in blocks, in turn with the same request sent directly.

    Their memory is looked at in the end: it is the peak after so many calls.
    """
    with ExitStack() as stack:
        clients = _started(world, stack)
        direct = stack.enter_context(_Direct(world.url(LIST_ROWS)))
        callers: dict[str, Caller] = {
            server.name: partial(_block, clients, server) for server in SERVERS
        }
        seconds, beyond = _in_turn(callers | {DIRECT: direct.block}, blocks, calls_of_a_block)
        asked = {name: [_gets_of_one(world, clients, name)] for name in clients}
        peaks = {name: memory(client.pid).peak for name, client in clients.items()}
    calls = blocks * calls_of_a_block
    return {
        "read": Measure(
            f"list {LIST_ROWS} snapshots, one call at a time", "ms", spreads(seconds, MILLISECONDS)
        ),
        "overhead": Measure("of it beyond the direct GET", "ms", spreads(beyond, MILLISECONDS)),
        "gets": Measure("GETs that one such call sends", "", spreads(asked)),
        "peak": Measure(f"peak memory after {calls:,} calls", "MiB", spreads(peaks)),
    }


def _in_turn(
    callers: Mapping[str, Caller], blocks: int, calls: int
) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
    """The seconds of every call, and for each block how far its median is beyond the direct one."""
    seconds: dict[str, list[float]] = {name: [] for name in callers}
    beyond: dict[str, list[float]] = {name: [] for name in callers if name != DIRECT}
    turns = deque(callers)
    for _ in range(blocks):
        block = {name: callers[name](calls) for name in turns}
        turns.rotate()  # so that nobody always comes after the same one
        for name, taken in block.items():
            seconds[name] += taken
        for name, own in beyond.items():
            own.append(median(block[name]) - median(block[DIRECT]))
    return seconds, beyond


def measure_at_once(world: World, rounds: int) -> Measures:
    """The time till many calls that were sent at once are all answered."""
    seconds: dict[str, list[float]] = {name: [] for name in _names()}
    with ExitStack() as stack:
        clients = _started(world, stack)
        for _ in range(rounds):
            for server in SERVERS:
                seconds[server.name].append(_all_at_once(clients[server.name], server))
    title = f"{AT_ONCE} calls at once, till all are answered"
    return {"at_once": Measure(title, "ms", spreads(seconds, MILLISECONDS))}


def _names() -> list[str]:
    return [server.name for server in SERVERS]


def _started(world: World, stack: ExitStack) -> Clients:
    clients = {
        server.name: stack.enter_context(world.loaded(server, LIST_ROWS)) for server in SERVERS
    }
    for server in SERVERS:
        _block(clients, server, WARM_CALLS)
        _all_at_once(clients[server.name], server)
    return clients


def _block(clients: Clients, server: Server, calls: int) -> list[float]:
    return [_call(clients, server) for _ in range(calls)]


def _call(clients: Clients, server: Server) -> float:
    return clients[server.name].timed_call(LIST_TOOL, server.listing(LIST_ROWS))


def _gets_of_one(world: World, clients: Clients, name: str) -> float:
    world.seen()
    _call(clients, server_named(name))
    return len(world.seen().paths)


def _all_at_once(client: StdioClient, server: Server) -> float:
    began = perf_counter()
    for _ in range(AT_ONCE):
        client.send_call(LIST_TOOL, server.listing(LIST_ROWS))
    answers = [client.next_answer() for _ in range(AT_ONCE)]
    for answer in answers:
        succeeded(answer)
    return answers[-1].at - began


class _Direct:
    """The request itself, by a bare HTTP client with one connection."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/core/snapshots?page=1&pageSize={LIST_ROWS}"
        self._runner = asyncio.Runner()
        self._http = direct_client()

    def __enter__(self) -> Self:
        self.block(WARM_CALLS)
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def block(self, calls: int) -> list[float]:
        return self._runner.run(_get_in_turn(self._http, self._url, calls))


async def _get_in_turn(http: httpx.AsyncClient, url: str, calls: int) -> list[float]:
    taken: list[float] = []
    for _ in range(calls):
        sent = perf_counter()
        (await http.get(url)).raise_for_status()
        taken.append(perf_counter() - sent)
    return taken
