"""The effect of one principal at its limits on another principal of the same service.

Usage: `python -m bench.principals [--seconds N]`

One principal uses each of six means in turn. Meanwhile another one reads, and makes changes. The
table compares the times of its reads with those before and after. The exit code is 1 if one of its
calls was refused.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import anyio

from tests.service.attacks import Attacker
from tests.service.two_principals import SETTLE_SECONDS, measure, measure_during, start_service


async def compare(port: int, seconds: float) -> bool:
    """Measure without and with each attack, print the table, and return whether all were served."""
    usual = [(await measure(port, seconds)).seconds]
    print(f"{'one principal uses':<28}{'median':>9}{'95 %':>9}{'ratio':>7}  answers to it")
    _print_row("nothing", usual[0], usual[0])
    served = True
    for name in Attacker(port, "").means:
        during, attacker = await measure_during(port, name, seconds)
        await anyio.sleep(SETTLE_SECONDS)
        usual.append((await measure(port, seconds / 2)).seconds)
        base = usual[-2] + usual[-1]
        answers = ", ".join(f"{count} x {status}" for status, count in attacker.statuses.items())
        _print_row(name, during.seconds, base, answers)
        for text, count in attacker.refusals.most_common(2):
            print(f"{'':<30}{count} x {text[:90]}")
        for text in during.refused:
            served = False
            print(f"{'':<30}REFUSED: {text[:200]}")
    return served


def _print_row(name: str, times: list[float], usual: list[float], answers: str = "") -> None:
    median, high = statistics.median(times) * 1e3, statistics.quantiles(times, n=20)[-1] * 1e3
    ratio = statistics.median(times) / statistics.median(usual)
    print(f"{name:<28}{median:6.1f} ms{high:6.1f} ms{ratio:7.2f}  {answers}", flush=True)


def main() -> int:
    """Run the comparison, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure one principal beside a greedy one.")
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, start_service(Path(name)) as port:
        return 0 if anyio.run(compare, port, arguments.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
