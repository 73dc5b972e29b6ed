"""Compare this server with a baseline server and with fastmcp's: `make bench`."""

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
from bench.report import Report, describe_run, format_json, format_markdown, write_section
from bench.servers import Testbed, start_testbed
from bench.stdio_calls import measure_concurrent_calls, measure_sequential_calls
from bench.targets import DELAY, LARGE, MEDIUM, SMALL, evaluate_targets
from bench.throughput import measure_throughput
from bench.token_counts import measure_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS_FILE = Path("build/bench.json")
DOCUMENT = Path("docs/performance.md")
EXIT_MISSED = 1


class Repetitions(NamedTuple):
    """Number and duration of the repetitions of each measurement.

    Attributes:
        starts: cold starts of each server.
        blocks: blocks of sequential calls, alternating between the servers.
        calls: calls in a block.
        rounds: rounds of concurrent calls.
        http_rounds: rounds for each number of HTTP clients.
        http_seconds: duration of such a round.
        auth_rounds: alternating rounds with and without authentication.
        auth_seconds: duration of such a round; short, because the speed of the machine drifts.
        sizes: numbers of snapshots in the accounts.
        query_seconds: how long each query of an account is repeated.
        slow_size: snapshots in the account on an upstream with latency.
        delay: that latency, in milliseconds.
    """

    starts: int = 15
    blocks: int = 50
    calls: int = 10
    rounds: int = 30
    http_rounds: int = 3
    http_seconds: float = 3
    auth_rounds: int = 20
    auth_seconds: float = 0.5
    sizes: tuple[int, ...] = (100, SMALL, MEDIUM, LARGE)
    query_seconds: float = 5
    slow_size: int = MEDIUM
    delay: int = DELAY


FULL = Repetitions()
QUICK = Repetitions(
    starts=2,
    blocks=2,
    calls=20,
    rounds=3,
    http_rounds=1,
    http_seconds=0.3,
    auth_rounds=2,
    auth_seconds=0.3,
    sizes=(100, SMALL, MEDIUM),
    query_seconds=0.1,
    slow_size=SMALL,
)


def main() -> int:
    """Measure, print and store the results, and return the exit code."""
    arguments = _parser().parse_args()
    repetitions = QUICK if arguments.quick else FULL
    facts = describe_run("quick" if arguments.quick else "full")
    with start_testbed() as testbed:
        measures = _measure(testbed, repetitions)
        imports = measure_imports(testbed)
    report = Report(facts, measures, evaluate_targets(measures), imports)
    print(format_markdown(report))
    RESULTS_FILE.parent.mkdir(parents=True, exist_ok=True)
    RESULTS_FILE.write_text(format_json(report), encoding="utf-8")
    if arguments.write:
        write_section(report, arguments.write)
    missed = any(verdict.word != "met" for verdict in report.verdicts)
    return EXIT_MISSED if arguments.strict and missed else 0


def _measure(testbed: Testbed, repetitions: Repetitions) -> Measures:
    measures: Measures = {}
    for name, step in _steps(testbed, repetitions).items():
        started = perf_counter()
        try:
            measures |= step()
            result = f"{perf_counter() - started:.0f} s"
        except RuntimeError as error:
            # One failed step must not discard the results of a long run.
            result = f"FAILED: {error}"
        print(f"{name}: {result}", file=sys.stderr, flush=True)
    return measures


def _steps(testbed: Testbed, repetitions: Repetitions) -> "dict[str, Callable[[], Measures]]":
    blocks, calls = repetitions.blocks, repetitions.calls
    http_rounds, http_seconds = repetitions.http_rounds, repetitions.http_seconds
    auth_rounds, auth_seconds = repetitions.auth_rounds, repetitions.auth_seconds
    slow_size, query_seconds = repetitions.slow_size, repetitions.query_seconds
    steps: dict[str, Callable[[], Measures]] = {
        "cold starts": partial(measure_starts, testbed, repetitions.starts),
        "sequential calls": partial(measure_sequential_calls, testbed, blocks, calls),
        "concurrent calls": partial(measure_concurrent_calls, testbed, repetitions.rounds),
        "HTTP": partial(measure_throughput, testbed, http_rounds, http_seconds),
        "authentication": partial(measure_authentication, testbed, auth_rounds, auth_seconds),
        "tokens": partial(measure_tokens, testbed),
        "upstream with latency": partial(
            measure_account, testbed, slow_size, query_seconds, repetitions.delay
        ),
    }
    return steps | {
        f"{size:,} snapshots": partial(measure_account, testbed, size, query_seconds)
        for size in repetitions.sizes
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, about a minute")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=DOCUMENT,
        metavar="DOCUMENT",
        help=f"write the results into a document ({DOCUMENT})",
    )
    parser.add_argument("--strict", action="store_true", help="fail unless every target is met")
    return parser


if __name__ == "__main__":
    sys.exit(main())
