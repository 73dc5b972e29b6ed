"""Soak test: a service with ten principals, a faulty cloud, and clients of both protocol eras.

Usage: `python -m bench.soak [--minutes N] [--seed N]`

Eight principals read and make changes. Two others use, in turn, each of the means of
`tests/service/attacks.py`. The memory and the open files of the server are sampled during the run.
At the end, the cloud, the ledger and the results that clients received are compared. The exit code
is 1 if the memory exceeded 512 MiB, or grew by 10 % or more after the warm-up, if files were left
open, if there is a disagreement, or if a call of the eight principals was refused because of load.
"""

import argparse
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random, randrange
from typing import NamedTuple

import anyio
import httpx

from bench.faulty_cloud import HOST, KEY, FaultyCloud, RandomFaults
from bench.process_samples import Sample, growth_percent, take_sample
from bench.soak_load import SoakLoad
from snapshot_mcp.core.clock import SYSTEM_CLOCK, utc_now
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from tests.faults.change_log import read_changes, read_ledger
from tests.faults.consistency import find_inconsistencies
from tests.faults.transport import ExchangeLog
from tests.faults.world import seed
from tests.service.attacks import Attacker

TIMEOUT_SECONDS = 2.0
SAMPLE_INTERVAL_SECONDS = 3.0
START_TIMEOUT_SECONDS = 30.0
IDLE_SECONDS = 10.0
"""Time after which the server has closed its idle connections to the cloud."""

WARM_UP_FRACTION = 0.3
MAX_GROWTH_PERCENT = 10.0
MAX_MEGABYTES = 512
HONEST, GREEDY = 8, 2
ATTACK_SECONDS = 15.0
REQUESTS_PER_MINUTE = 600
MAX_FILES_LEFT = 2
TABLE_ROWS = 20


class SoakResult(NamedTuple):
    """The result of a soak test, printed as its last line."""

    minutes: float
    outcomes: dict[str, int]
    requests: int
    writes: int
    attempts: int
    honest_calls: int
    honest_refused: list[str]
    greedy_answers: dict[int, int]
    peak_megabytes: int
    growth_percent: float
    files_left: int
    disagreements: list[str]

    @property
    def good(self) -> bool:
        """Whether the test passed."""
        return (
            self.growth_percent < MAX_GROWTH_PERCENT
            and self.files_left <= MAX_FILES_LEFT
            and self.peak_megabytes <= MAX_MEGABYTES
            and not self.honest_refused
            and not self.disagreements
        )


async def run_soak(minutes: float, random_seed: int) -> SoakResult:
    """Run the load on a new server, then compare the cloud, the ledger and the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await seed(folder, SYSTEM_CLOCK)
        faults, log = RandomFaults(rng=Random(random_seed)), ExchangeLog()  # noqa: S311 - not a secret
        cloud = FaultyCloud(folder / CLOUD_FILE, faults, log, TIMEOUT_SECONDS + 0.5)
        tokens = [secrets.token_hex(32) for _ in range(HONEST + GREEDY)]
        async with cloud.serving(), _serve(folder, cloud.url, tokens) as (pid, url):
            random = Random(random_seed + 1)  # noqa: S311 - as above
            load = SoakLoad(url, folder, log, random, tokens[:HONEST])
            attackers = [Attacker(httpx.URL(url).port or 0, token) for token in tokens[HONEST:]]
            faults.paused = True
            await load.warm_up()
            await anyio.sleep(IDLE_SECONDS)
            idle = take_sample(pid, time.monotonic())
            faults.paused = False
            samples = await _run_and_sample(load, attackers, pid, minutes * 60)
            faults.paused = True
            await log.deliver_delayed()
            await load.wait_until_settled()
            await anyio.sleep(IDLE_SECONDS)
            files_left = take_sample(pid, time.monotonic()).files - idle.files
            result = await _evaluate(minutes, load, samples, files_left)
        answers = sum((attacker.statuses for attacker in attackers), Counter[int]())
        return result._replace(greedy_answers=dict(sorted(answers.items())))


async def _run_and_sample(
    load: SoakLoad, attackers: Sequence[Attacker], pid: int, seconds: float
) -> list[Sample]:
    started, samples = time.monotonic(), list[Sample]()
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as attacks:
        tasks.start_soon(load.run, started + seconds)
        for place, attacker in enumerate(attackers):
            attacks.start_soon(_attack, attacker, place)
        while time.monotonic() < started + seconds:
            samples.append(take_sample(pid, started))
            await anyio.sleep(SAMPLE_INTERVAL_SECONDS)
        attacks.cancel_scope.cancel()
    return samples


async def _attack(attacker: Attacker, place: int) -> None:
    """Use each of the means in turn; attackers with different places begin with different ones."""
    for name in itertools.islice(itertools.cycle(attacker.means), place, None):
        with anyio.move_on_after(ATTACK_SECONDS):
            await attacker.means[name]()


async def _evaluate(
    minutes: float, load: SoakLoad, samples: Sequence[Sample], files_left: int
) -> SoakResult:
    _print_table(samples)
    entries = read_ledger(load.folder / LEDGER_FILE)
    changes = load.exclude_removed_vms(read_changes(load.folder / CLOUD_FILE))
    problems = list(find_inconsistencies(entries, load.log.exchanges, changes, load.results))
    problems += await open_sqlite_ledger(load.folder / LEDGER_FILE, utc_now).verify()
    return SoakResult(
        minutes=minutes,
        outcomes=dict(sorted(load.outcomes.items())),
        requests=len(load.log.exchanges),
        writes=len(load.log.writes),
        attempts=sum(entry.event == "sent" for entry in entries),
        honest_calls=len(load.results),
        honest_refused=load.refusals,
        greedy_answers={},
        peak_megabytes=max(sample.kilobytes for sample in samples) // 1024,
        growth_percent=round(growth_percent(samples, minutes * 60 * WARM_UP_FRACTION), 2),
        files_left=files_left,
        disagreements=problems,
    )


@asynccontextmanager
async def _serve(
    folder: Path, cloud_url: str, tokens: Sequence[str]
) -> AsyncGenerator[tuple[int, str]]:
    """Start the service as a process, and yield its process id and its URL."""
    token_file = anyio.Path(folder / "tokens")
    await token_file.write_text("".join(f"p{n} {token}\n" for n, token in enumerate(tokens)))
    await token_file.chmod(0o600)
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    command = [sys.executable, "-m", "snapshot_mcp", "serve", "--transport", "http"]
    settings = {
        "SNAPSHOT_MCP_DATA_DIR": str(folder),
        "SNAPSHOT_MCP_API_URL": cloud_url,
        "SNAPSHOT_MCP_API_KEY": KEY,
        "SNAPSHOT_MCP_TIMEOUT": str(TIMEOUT_SECONDS),
        "SNAPSHOT_MCP_BEARER_TOKEN_FILE": str(token_file),
        "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
    }
    process = subprocess.Popen(  # noqa: ASYNC220 - its pipes are not used
        [*command, "--port", str(port)], env={**os.environ, **settings}, stderr=subprocess.DEVNULL
    )
    try:
        await _wait_until_healthy(f"http://{HOST}:{port}/health")
        yield process.pid, f"http://{HOST}:{port}/mcp"
    finally:
        process.terminate()
        await anyio.to_thread.run_sync(process.wait)


async def _wait_until_healthy(address: str) -> None:
    async with httpx.AsyncClient() as http:
        with anyio.fail_after(START_TIMEOUT_SECONDS):
            while True:
                try:
                    (await http.get(address)).raise_for_status()
                except httpx.TransportError:
                    await anyio.sleep(0.1)
                else:
                    return


def _print_table(samples: Sequence[Sample]) -> None:
    print(f"{'seconds':>8} {'memory (MB)':>12} {'open files':>11}")
    step = max(1, len(samples) // TABLE_ROWS)
    for sample in [*samples[::step], samples[-1]]:
        print(f"{sample.seconds:8.0f} {sample.kilobytes / 1024:12.1f} {sample.files:11d}")


def main() -> int:
    """Run the test, print its result and return the exit code."""
    parser = argparse.ArgumentParser(description="Run a soak test of the server.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=randrange(1_000_000))  # noqa: S311 - not a secret
    arguments = parser.parse_args()
    print(f"Seed: {arguments.seed}", flush=True)
    result = anyio.run(partial(run_soak, arguments.minutes, arguments.seed))
    print(json.dumps({**result._asdict(), "good": result.good}))
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
