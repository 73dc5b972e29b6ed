"""Calls per second over Streamable HTTP, with several concurrent clients."""

from contextlib import ExitStack
from time import perf_counter

import anyio

from bench.http_client import open_session
from bench.measurements import Measure, Measures, spreads
from bench.servers import LIST_SIZE, LIST_TOOL, SERVERS, Server, Testbed

CLIENT_COUNTS = (1, 8, 32)


def measure_throughput(testbed: Testbed, rounds: int, seconds: float) -> Measures:
    """Measure the servers in turn, with each number of clients, in several rounds."""
    measures: Measures = {}
    with ExitStack() as stack:
        ports = {
            server.name: stack.enter_context(testbed.serve_http(server, LIST_SIZE))
            for server in SERVERS
        }
        for clients in CLIENT_COUNTS:
            rates: dict[str, list[float]] = {server.name: [] for server in SERVERS}
            for _ in range(rounds):
                for server in SERVERS:
                    port = ports[server.name]
                    rate = anyio.run(calls_per_second, server, port, clients, seconds)
                    rates[server.name].append(rate)
            title = f"Streamable HTTP, {clients} client{'s' * (clients > 1)}"
            measures[f"http_{clients}"] = Measure(title, "calls/s", spreads(rates))
    return measures


async def calls_per_second(
    server: Server, port: int, clients: int, seconds: float, token: str = ""
) -> float:
    """Return the calls per second of all clients together.

    Args:
        server: the server that listens on the port.
        port: its port.
        clients: the number of concurrent clients.
        seconds: the minimum duration; each client completes its last call.
        token: the bearer token of the clients; empty for none.
    """
    rates = [0.0] * clients
    ready: list[int] = []
    start = anyio.Event()

    async def call_repeatedly(number: int) -> None:
        async with open_session(port, token) as session:
            await session.call(LIST_TOOL, server.list_arguments(LIST_SIZE))
            ready.append(number)
            if len(ready) == clients:
                start.set()
            await start.wait()
            started, calls, elapsed = perf_counter(), 0, 0.0
            # With many clients, each makes few calls: interrupting the last would distort the rate.
            while elapsed < seconds:
                await session.call(LIST_TOOL, server.list_arguments(LIST_SIZE))
                calls, elapsed = calls + 1, perf_counter() - started
            rates[number] = calls / elapsed

    async with anyio.create_task_group() as group:
        for number in range(clients):
            group.start_soon(call_repeatedly, number)
    return sum(rates)
