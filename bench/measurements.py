"""Numbers: medians with their spreads, and the memory of a process."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple

KIBIBYTES_OF_A_MEBIBYTE = 1_024
MILLISECONDS = 1_000
MOST_REPETITIONS = 20


class Spread(NamedTuple):
    """A median, and how far the values lie apart."""

    median: float
    lowest: float
    first_quartile: float
    third_quartile: float
    highest: float
    runs: int


class Measure(NamedTuple):
    """One line of the report.

    Attributes:
        title: what was measured.
        unit: of what.
        values: the spread by who was measured.
    """

    title: str
    unit: str
    values: Mapping[str, Spread]


Measures = dict[str, Measure]
"""Measures by a key that does not change with their titles."""


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    quarters = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Spread(median(values), min(values), quarters[0], quarters[2], max(values), len(values))


def spreads(values: Mapping[str, Sequence[float]], factor: float = 1) -> dict[str, Spread]:
    """The spreads of the values of each, times a factor; who has none is left out."""
    return {name: spread([value * factor for value in own]) for name, own in values.items() if own}


def repeated(measure: Callable[[], float], seconds: float) -> list[float]:
    """Measure once, and again while less than so many seconds have gone by."""
    began = perf_counter()
    values = [measure()]
    while perf_counter() - began < seconds and len(values) < MOST_REPETITIONS:
        values.append(measure())
    return values


class Memory(NamedTuple):
    """The memory of a process in MiB; each an empty list where the system does not tell it.

    Attributes:
        resident: what is in memory (RSS).
        proportional: the same, with what is shared divided by those who share it (PSS).
        peak: the most that was ever resident.
    """

    resident: list[float]
    proportional: list[float]
    peak: list[float]


def memory(pid: int) -> Memory:
    """The memory of a process of ours; only Linux tells it."""
    status = _text(f"/proc/{pid}/status")
    return Memory(
        _mebibytes("VmRSS", status),
        _mebibytes("Pss", _text(f"/proc/{pid}/smaps_rollup")),
        _mebibytes("VmHWM", status),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _mebibytes(name: str, text: str) -> list[float]:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return [int(found[1]) / KIBIBYTES_OF_A_MEBIBYTE] if found else []
