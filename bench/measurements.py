"""Measured values: medians with their spreads, and the memory of a process."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple

KIBIBYTES_PER_MEBIBYTE = 1_024
MILLISECONDS_PER_SECOND = 1_000
MAX_REPETITIONS = 20


class Spread(NamedTuple):
    """The median and the distribution of repeated measurements."""

    median: float
    lowest: float
    first_quartile: float
    third_quartile: float
    highest: float
    runs: int


class Measure(NamedTuple):
    """One row of the report.

    Attributes:
        title: what was measured.
        unit: the unit of the values.
        values: the spread for each server.
    """

    title: str
    unit: str
    values: Mapping[str, Spread]


Measures = dict[str, Measure]
"""Measures by a key that does not depend on their titles."""


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    quarters = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Spread(median(values), min(values), quarters[0], quarters[2], max(values), len(values))


def spreads(values: Mapping[str, Sequence[float]], factor: float = 1) -> dict[str, Spread]:
    """Return the spread of each server's values times a factor, omitting empty ones."""
    return {
        name: spread([value * factor for value in server_values])
        for name, server_values in values.items()
        if server_values
    }


def repeat(measure: Callable[[], float], seconds: float) -> list[float]:
    """Measure at least once, and repeat it for `seconds`, at most `MAX_REPETITIONS` times."""
    started = perf_counter()
    values = [measure()]
    while perf_counter() - started < seconds and len(values) < MAX_REPETITIONS:
        values.append(measure())
    return values


class Memory(NamedTuple):
    """The memory of a process in MiB; each list is empty if the platform does not report it.

    Attributes:
        resident: resident set size (RSS).
        proportional: proportional set size (PSS), which divides shared pages by their users.
        peak: the highest resident set size so far.
    """

    resident: list[float]
    proportional: list[float]
    peak: list[float]


def read_memory(pid: int) -> Memory:
    """Return the memory of a process; only Linux reports it."""
    status = _read_text(f"/proc/{pid}/status")
    return Memory(
        _mebibytes("VmRSS", status),
        _mebibytes("Pss", _read_text(f"/proc/{pid}/smaps_rollup")),
        _mebibytes("VmHWM", status),
    )


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _mebibytes(field: str, text: str) -> list[float]:
    match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return [int(match[1]) / KIBIBYTES_PER_MEBIBYTE] if match else []
