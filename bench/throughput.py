"""Calls a second over Streamable HTTP, with several clients at the same time."""

from contextlib import ExitStack
from time import perf_counter

import anyio

from bench.http_client import http_session
from bench.measurements import Measure, Measures, spreads
from bench.servers import LIST_ROWS, LIST_TOOL, SERVERS, Server, World

CLIENTS = (1, 8, 32)


def measure_throughput(world: World, rounds: int, seconds: float) -> Measures:
    """Let so many clients call one server after the other for some seconds, in several rounds."""
    measures: Measures = {}
    with ExitStack() as stack:
        ports = {
            server.name: stack.enter_context(world.over_http(server, LIST_ROWS))
            for server in SERVERS
        }
        for clients in CLIENTS:
            rates: dict[str, list[float]] = {server.name: [] for server in SERVERS}
            for _ in range(rounds):
                for server in SERVERS:
                    found = anyio.run(rate, server, ports[server.name], clients, seconds)
                    rates[server.name].append(found)
            title = f"Streamable HTTP, {clients} client{'s' * (clients > 1)}"
            measures[f"http_{clients}"] = Measure(title, "calls/s", spreads(rates))
    return measures


async def rate(server: Server, port: int, clients: int, seconds: float, token: str = "") -> float:
    """Calls a second of all clients, each till its first answer after the time.

    Args:
        server: which one listens.
        port: where it listens.
        clients: how many call at the same time.
        seconds: how long, at least.
        token: what they present; empty for nothing.
    """
    rates = [0.0] * clients
    ready: list[int] = []
    start = anyio.Event()

    async def call_on_and_on(number: int) -> None:
        async with http_session(port, token) as session:
            await session.call(LIST_TOOL, server.listing(LIST_ROWS))
            ready.append(number)
            if len(ready) == clients:
                start.set()
            await start.wait()
            began, calls, taken = perf_counter(), 0, 0.0
            # Of many clients each has few calls in the time: cutting off the last would tell noise.
            while taken < seconds:
                await session.call(LIST_TOOL, server.listing(LIST_ROWS))
                calls, taken = calls + 1, perf_counter() - began
            rates[number] = calls / taken

    async with anyio.create_task_group() as group:
        for number in range(clients):
            group.start_soon(call_on_and_on, number)
    return sum(rates)
