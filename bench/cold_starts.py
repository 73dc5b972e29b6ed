"""Time from the start of a process until its tools are listed, and its memory at that point."""

from bench.measurements import (
    MILLISECONDS_PER_SECOND,
    Measure,
    Measures,
    Memory,
    read_memory,
    spreads,
)
from bench.servers import LIST_SIZE, SERVERS, Server, Testbed
from bench.stdio_client import parse_result


def measure_starts(testbed: Testbed, runs: int) -> Measures:
    """Start the servers in turn, `runs` times each, after one start that is not counted.

    The first start compiles Python files and warms the file cache.
    """
    for server in SERVERS:
        _start(testbed, server)
    seconds: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    resident: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    proportional: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    for _ in range(runs):
        for server in SERVERS:
            elapsed, memory = _start(testbed, server)
            seconds[server.name].append(elapsed)
            resident[server.name] += memory.resident
            proportional[server.name] += memory.proportional
    return {
        "cold_start": Measure(
            "cold start, until tools/list is answered",
            "ms",
            spreads(seconds, MILLISECONDS_PER_SECOND),
        ),
        "idle_rss": Measure("memory after tools/list (RSS)", "MiB", spreads(resident)),
        "idle_pss": Measure("memory after tools/list (PSS)", "MiB", spreads(proportional)),
    }


def _start(testbed: Testbed, server: Server) -> tuple[float, Memory]:
    with testbed.start_cold(server, LIST_SIZE) as client:
        client.initialize()
        client.send("tools/list")
        answer = client.next_answer()
        parse_result(answer)
        return answer.received_at - client.started, read_memory(client.pid)
