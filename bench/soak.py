"""A soak: the real server over HTTP, a cloud that fails, clients of both eras, for many minutes.

    python bench/soak.py --minutes 10

Memory and open files of the server are sampled all along. In the end the cloud, the ledger, and
what was told to the clients are compared. Exit code 1 when memory grew by 5 % or more after the
warm-up, when files were left open, or when anything disagrees.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faulty_cloud import HOST, KEY, Chance, FaultyCloud
from process_samples import Sample, growth_percent, sample
from soak_load import Load

from snapshot_mcp.core.clock import SYSTEM_CLOCK, utc_now
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from tests.faults.judge import disagreements
from tests.faults.transport import Log
from tests.faults.witness import changes_in, entries_of
from tests.faults.world import seed

TIMEOUT_SECONDS = 2.0
SECONDS_BETWEEN_SAMPLES = 3.0
SECONDS_TO_START = 30.0
SECONDS_TO_REST = 10.0
"""After which the server has closed the connections that it kept for a next request."""

WARM_UP_PART = 0.3
MOST_GROWTH_PERCENT = 5.0
MOST_FILES_LEFT = 2
LINES_OF_THE_TABLE = 20


class Verdict(NamedTuple):
    """What the soak found, as its last line tells it."""

    minutes: float
    calls: int
    outcomes: dict[str, int]
    requests: int
    writes: int
    attempts: int
    kilobytes: int
    growth_percent: float
    files_left: int
    disagreements: list[str]

    @property
    def good(self) -> bool:
        """Whether everything is as it must be."""
        return (
            self.growth_percent < MOST_GROWTH_PERCENT
            and self.files_left <= MOST_FILES_LEFT
            and not self.disagreements
        )


async def soak(minutes: float, seed_of_chance: int) -> Verdict:
    """Load a new server for so long, then compare everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await seed(folder, SYSTEM_CLOCK)
        plan, log = Chance(chance=random.Random(seed_of_chance)), Log()  # noqa: S311 - no secret
        cloud = FaultyCloud(folder / CLOUD_FILE, plan, log, TIMEOUT_SECONDS + 0.5)
        async with cloud.serving(), _server(folder, cloud.url) as (pid, url):
            load = Load(url, folder, log, random.Random(seed_of_chance + 1))  # noqa: S311 - as above
            plan.fair = True
            await load.begin()
            await anyio.sleep(SECONDS_TO_REST)
            resting = sample(pid, time.monotonic())
            plan.fair = False
            samples = await _loaded(load, pid, minutes * 60)
            plan.fair = True
            await log.deliver_late()
            await load.calm()
            await anyio.sleep(SECONDS_TO_REST)
            left = sample(pid, time.monotonic()).files - resting.files
        return await _verdict(minutes, load, samples, left)


async def _loaded(load: "Load", pid: int, seconds: float) -> list[Sample]:
    began, samples = time.monotonic(), list[Sample]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load.run, began + seconds)
        while time.monotonic() < began + seconds:
            samples.append(sample(pid, began))
            await anyio.sleep(SECONDS_BETWEEN_SAMPLES)
    return samples


async def _verdict(
    minutes: float, load: "Load", samples: Sequence[Sample], files_left: int
) -> Verdict:
    _print_table(samples)
    entries = entries_of(load.folder / LEDGER_FILE)
    changes = load.without_tidying(changes_in(load.folder / CLOUD_FILE))
    wrong = list(disagreements(entries, load.log.exchanges, changes, load.told))
    wrong += await open_sqlite_ledger(load.folder / LEDGER_FILE, utc_now).verify()
    return Verdict(
        minutes=minutes,
        calls=len(load.told),
        outcomes=dict(sorted(load.outcomes.items())),
        requests=len(load.log.exchanges),
        writes=len(load.log.writes),
        attempts=sum(entry.event == "sent" for entry in entries),
        kilobytes=samples[-1].kilobytes,
        growth_percent=round(growth_percent(samples, minutes * 60 * WARM_UP_PART), 2),
        files_left=files_left,
        disagreements=wrong,
    )


@asynccontextmanager
async def _server(folder: Path, cloud: str) -> AsyncGenerator[tuple[int, str]]:
    """The server as a process of its own: its id, and its address."""
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "snapshot_mcp", "serve", "--transport", "http"]
    settings = {
        "SNAPSHOT_MCP_DATA_DIR": str(folder),
        "SNAPSHOT_MCP_API_URL": cloud,
        "SNAPSHOT_MCP_API_KEY": KEY,
        "SNAPSHOT_MCP_TIMEOUT": str(TIMEOUT_SECONDS),
    }
    process = subprocess.Popen(  # noqa: ASYNC220 - it is spoken to over HTTP alone
        [*command, "--port", str(port)], env={**os.environ, **settings}, stderr=subprocess.DEVNULL
    )
    try:
        await _until_healthy(f"http://{HOST}:{port}/health")
        yield process.pid, f"http://{HOST}:{port}/mcp"
    finally:
        process.terminate()
        await anyio.to_thread.run_sync(process.wait)


async def _until_healthy(address: str) -> None:
    async with httpx.AsyncClient() as http:
        with anyio.fail_after(SECONDS_TO_START):
            while True:
                try:
                    (await http.get(address)).raise_for_status()
                except httpx.TransportError:
                    await anyio.sleep(0.1)
                else:
                    return


def _print_table(samples: Sequence[Sample]) -> None:
    print(f"{'seconds':>8} {'memory (MB)':>12} {'open files':>11}")
    step = max(1, len(samples) // LINES_OF_THE_TABLE)
    for it in [*samples[::step], samples[-1]]:
        print(f"{it.seconds:8.0f} {it.kilobytes / 1024:12.1f} {it.files:11d}")


def main() -> int:
    """Run from the command line; the exit code."""
    parser = argparse.ArgumentParser(description="Load the server for many minutes.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311 - no secret
    arguments = parser.parse_args()
    print(f"Seed: {arguments.seed}", flush=True)
    verdict = anyio.run(partial(soak, arguments.minutes, arguments.seed))
    print(json.dumps({**verdict._asdict(), "good": verdict.good}))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
