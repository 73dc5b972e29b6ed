"""Start-up time by package, from `python -X importtime`."""

import re
import subprocess
import sys
from collections import defaultdict
from statistics import median
from typing import NamedTuple

from bench.servers import SNAPSHOT_MCP, Testbed, server_named

OWN_PACKAGE = "snapshot_mcp"
MAX_PACKAGES = 10
_RUNS = 5
_TIMEOUT_SECONDS = 30
_LINE = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)


class ImportTime(NamedTuple):
    """The import time of a package.

    Attributes:
        name: its name.
        milliseconds: the time of its own modules, without the packages that they import.
        share: the fraction of the time of all imports.
    """

    name: str
    milliseconds: float
    share: float


def measure_imports(testbed: Testbed) -> list[ImportTime]:
    """Return the slowest packages, this one, all others together, and the total, as medians."""
    runs = [_import_times(testbed) for _ in range(_RUNS)]
    names = {name for run in runs for name in run}
    times = {name: median(run.get(name, 0.0) for run in runs) for name in names}
    total = sum(times.values())
    listed = sorted(times, key=lambda name: -times[name])[:MAX_PACKAGES]
    listed += [] if OWN_PACKAGE in listed else [OWN_PACKAGE]
    others = total - sum(times[name] for name in listed)
    rows = [*((name, times[name]) for name in listed), ("other packages", others), ("total", total)]
    return [ImportTime(name, milliseconds, milliseconds / total) for name, milliseconds in rows]


def _import_times(testbed: Testbed) -> dict[str, float]:
    """Return milliseconds by package."""
    command = [sys.executable, "-X", "importtime", *server_named(SNAPSHOT_MCP).cold_arguments]
    result = subprocess.run(
        command,
        input=b"",
        env=testbed.environment(testbed.account_url(1)),
        capture_output=True,
        check=True,
        timeout=_TIMEOUT_SECONDS,
    )
    times: dict[str, float] = defaultdict(float)
    for microseconds, module in _LINE.findall(result.stderr.decode()):
        times[module.partition(".")[0]] += int(microseconds) / 1_000
    return times
