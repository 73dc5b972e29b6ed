"""Where the time of a start goes: what Python says that each import takes, by package."""

import re
import subprocess
import sys
from collections import defaultdict
from statistics import median
from typing import NamedTuple

from bench.servers import OURS, World, server_named

OWN = "snapshot_mcp"
MOST_NAMED = 10
_RUNS = 5
_SECONDS = 30
_LINE = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)


class Import(NamedTuple):
    """A package.

    Attributes:
        name: its name.
        milliseconds: that its own modules take, without what these import from other packages.
        share: of all imports of the start.
    """

    name: str
    milliseconds: float
    share: float


def measure_imports(world: World) -> list[Import]:
    """The packages that take longest, ours among them, and the rest together; medians."""
    runs = [_imports(world) for _ in range(_RUNS)]
    names = {name for run in runs for name in run}
    taken = {name: median(run.get(name, 0.0) for run in runs) for name in names}
    whole = sum(taken.values())
    named = sorted(taken, key=lambda name: -taken[name])[:MOST_NAMED]
    named += [] if OWN in named else [OWN]
    rest = whole - sum(taken[name] for name in named)
    told = [*((name, taken[name]) for name in named), ("all others", rest), ("all", whole)]
    return [Import(name, part, part / whole) for name, part in told]


def _imports(world: World) -> dict[str, float]:
    """Milliseconds by package."""
    command = [sys.executable, "-X", "importtime", *server_named(OURS).cold]
    done = subprocess.run(
        command,
        input=b"",
        env=world.environment(world.url(1)),
        capture_output=True,
        check=True,
        timeout=_SECONDS,
    )
    taken: dict[str, float] = defaultdict(float)
    for microseconds, module in _LINE.findall(done.stderr.decode()):
        taken[module.partition(".")[0]] += int(microseconds) / 1_000
    return taken
