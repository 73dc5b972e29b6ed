"""Compare our server with a bare one and with fastmcp's, in one go: `make bench`."""

import argparse
import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from bench.account_size import measure_account
from bench.authentication import measure_authentication
from bench.cold_starts import measure_starts
from bench.import_times import measure_imports
from bench.measurements import Measures
from bench.report import Run, about, as_json, as_markdown, keep
from bench.servers import World, world
from bench.stdio_calls import measure_at_once, measure_calls
from bench.targets import DELAY, LARGE, MIDDLE, SMALL, verdicts
from bench.throughput import measure_throughput
from bench.token_counts import measure_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path("build/bench.json")
DOCUMENT = Path("docs/performance.md")
EXIT_MISSED = 1


class Plan(NamedTuple):
    """How often everything is measured, and how long.

    Attributes:
        starts: cold starts of each server.
        blocks: blocks of sequential calls, in turn.
        calls: calls of a block.
        rounds: rounds of calls at once.
        http_rounds: rounds of each number of HTTP clients.
        http_seconds: of each of these.
        auth_rounds: turns with authentication and without; short ones, for the machine drifts.
        auth_seconds: of each of these.
        sizes: snapshots of the accounts.
        growth_seconds: how long each query of an account is repeated.
        slow_size: snapshots of the account on an upstream that is as slow as a real one.
        delay: milliseconds after which that one answers.
    """

    starts: int = 15
    blocks: int = 50
    calls: int = 10
    rounds: int = 30
    http_rounds: int = 3
    http_seconds: float = 3
    auth_rounds: int = 20
    auth_seconds: float = 0.5
    sizes: tuple[int, ...] = (100, SMALL, MIDDLE, LARGE)
    growth_seconds: float = 5
    slow_size: int = MIDDLE
    delay: int = DELAY


FULL = Plan()
QUICK = Plan(
    starts=2,
    blocks=2,
    calls=20,
    rounds=3,
    http_rounds=1,
    http_seconds=0.3,
    auth_rounds=2,
    auth_seconds=0.3,
    sizes=(100, SMALL, MIDDLE),
    growth_seconds=0.1,
    slow_size=SMALL,
)


def main() -> int:
    """Measure, print, and keep what was asked for; the exit code."""
    arguments = _parser().parse_args()
    plan = QUICK if arguments.quick else FULL
    facts = about("quick" if arguments.quick else "full")
    with world() as shared:
        measures = _measure(shared, plan)
        imports = measure_imports(shared)
    run = Run(facts, measures, verdicts(measures), imports)
    print(as_markdown(run))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(as_json(run), encoding="utf-8")
    if arguments.write:
        keep(run, arguments.write)
    missed = any(verdict.word != "met" for verdict in run.verdicts)
    return EXIT_MISSED if arguments.strict and missed else 0


def _measure(shared: World, plan: Plan) -> Measures:
    steps: dict[str, Callable[[], Measures]] = {
        "cold starts": lambda: measure_starts(shared, plan.starts),
        "calls": lambda: measure_calls(shared, plan.blocks, plan.calls),
        "calls at once": lambda: measure_at_once(shared, plan.rounds),
        "HTTP": lambda: measure_throughput(shared, plan.http_rounds, plan.http_seconds),
        "authentication": lambda: measure_authentication(
            shared, plan.auth_rounds, plan.auth_seconds
        ),
        "tokens": lambda: measure_tokens(shared),
        "a slow upstream": partial(
            measure_account, shared, plan.slow_size, plan.growth_seconds, plan.delay
        ),
    } | {
        f"{size:,} snapshots": partial(measure_account, shared, size, plan.growth_seconds)
        for size in plan.sizes
    }
    measures: Measures = {}
    for name, step in steps.items():
        began = perf_counter()
        try:
            measures |= step()
            told = f"{perf_counter() - began:.0f} s"
        except RuntimeError as error:
            # What a server cannot do is told; the rest of a long run is not lost by it.
            told = f"FAILED: {error}"
        print(f"{name}: {told}", file=sys.stderr, flush=True)
    return measures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, under a minute")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=DOCUMENT,
        metavar="DOCUMENT",
        help=f"keep the run in a document ({DOCUMENT})",
    )
    parser.add_argument("--strict", action="store_true", help="fail unless every target is met")
    return parser


if __name__ == "__main__":
    sys.exit(main())
