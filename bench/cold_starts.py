"""From the start of a process till its tools are listed, and the memory that it has then."""

from bench.measurements import MILLISECONDS, Measure, Measures, Memory, memory, spreads
from bench.servers import LIST_ROWS, SERVERS, Server, World
from bench.stdio_client import result_of


def measure_starts(world: World, runs: int) -> Measures:
    """Start the servers in turn, so many times each, after one time that does not count.

    The first time writes what Python compiles and warms the file cache.
    """
    for server in SERVERS:
        _start(world, server)
    seconds: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    resident: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    proportional: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    for _ in range(runs):
        for server in SERVERS:
            taken, used = _start(world, server)
            seconds[server.name].append(taken)
            resident[server.name] += used.resident
            proportional[server.name] += used.proportional
    return {
        "cold_start": Measure(
            "cold start, till tools/list is answered", "ms", spreads(seconds, MILLISECONDS)
        ),
        "idle_rss": Measure("memory after tools/list (RSS)", "MiB", spreads(resident)),
        "idle_pss": Measure("memory after tools/list (PSS)", "MiB", spreads(proportional)),
    }


def _start(world: World, server: Server) -> tuple[float, Memory]:
    with world.cold(server, LIST_ROWS) as client:
        client.initialize()
        client.send("tools/list")
        answer = client.next_answer()
        result_of(answer)
        return answer.at - client.started, memory(client.pid)
