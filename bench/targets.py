"""Performance targets, and the verdict of a run on each."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.account_size import QUERIES, account_key
from bench.authentication import MAX_RATIO, authentication_key
from bench.measurements import Measures
from bench.servers import BASELINE, DIRECT, FASTMCP, SNAPSHOT_MCP
from bench.throughput import CLIENT_COUNTS

SMALL, MEDIUM, LARGE = 1_000, 10_000, 100_000
"""Numbers of snapshots in an account."""
DELAY = 30
"""Milliseconds until an upstream on another machine answers."""
NOISE = 1.25
"""Medians within this factor count as equal, because the speed of a machine drifts."""


class Verdict(NamedTuple):
    """The result of one target.

    Attributes:
        target: the title of the target.
        value: the measured value; None if the run did not measure it.
        limit: the maximum value.
        unit: the unit of both.
    """

    target: str
    value: float | None
    limit: float
    unit: str

    @property
    def word(self) -> str:
        """Met, missed, or not measured."""
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.limit else "missed"


class _Medians:
    """The medians of a run; each is None if the run did not measure it."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def median(self, key: str, name: str = SNAPSHOT_MCP) -> float | None:
        measure = self._measures.get(key)
        spread = measure.values.get(name) if measure else None
        return spread.median if spread else None

    def ratio(self, key: str, other: str) -> float | None:
        return _divide(self.median(key), self.median(key, other))

    def growth(self, query: str, larger: int, smaller: int) -> float | None:
        return _divide(
            self.median(account_key(query, larger)), self.median(account_key(query, smaller))
        )


def evaluate_targets(measures: Measures) -> list[Verdict]:
    """Return the verdict on every target."""
    medians = _Medians(measures)
    return [
        *_comparison_verdicts(medians),
        *_account_size_verdicts(medians),
        _authentication_verdict(medians),
        *_token_verdicts(medians),
    ]


def _comparison_verdicts(medians: _Medians) -> list[Verdict]:
    targets = (
        ("cold start", "cold_start", BASELINE, 1.10),
        ("cold start", "cold_start", FASTMCP, 0.65),
        ("read overhead", "overhead", FASTMCP, 0.9),
        ("read overhead", "overhead", BASELINE, 1.0),
        ("idle memory", "idle_rss", BASELINE, 1.15),
        ("20 concurrent calls", "at_once", BASELINE, 1.0),
        ("text tokens of 20 snapshots", "text_20", FASTMCP, 0.3),
    )
    return [
        Verdict(title, medians.ratio(key, other), limit, f"x {other}")
        for title, key, other, limit in targets
    ]


def _account_size_verdicts(medians: _Medians) -> list[Verdict]:
    small, large = (medians.median(account_key("peak", size)) for size in (SMALL, LARGE))
    filters = [query for query, arguments in QUERIES.items() if arguments]
    return [
        Verdict(
            f"first page of {LARGE:,} snapshots",
            medians.growth("first page", LARGE, SMALL),
            NOISE,
            f"x that of {SMALL:,}",
        ),
        Verdict(
            f"filtered list of {LARGE:,} snapshots, time per snapshot",
            _worst(lambda query: medians.growth(query, LARGE, SMALL), filters, SMALL / LARGE),
            NOISE,
            f"x that of {SMALL:,}",
        ),
        Verdict(
            f"peak memory, {SMALL:,} to {LARGE:,} snapshots",
            None if small is None or large is None else large - small,
            20,
            "MiB more",
        ),
        Verdict(
            f"filtered list of {MEDIUM:,} snapshots, {DELAY} ms latency",
            _worst(lambda query: medians.ratio(account_key(query, MEDIUM, DELAY), DIRECT), filters),
            1.2,
            "x direct",
        ),
        Verdict(
            f"filtered list of {MEDIUM:,} snapshots, no latency",
            _worst(lambda query: medians.ratio(account_key(query, MEDIUM), DIRECT), filters),
            1.2,
            "x direct",
        ),
    ]


def _authentication_verdict(medians: _Medians) -> Verdict:
    ratios = [medians.median(authentication_key(clients)) for clients in CLIENT_COUNTS]
    return Verdict(
        "call over HTTP with authentication",
        max((ratio for ratio in ratios if ratio is not None), default=None),
        MAX_RATIO,
        "x without",
    )


def _token_verdicts(medians: _Medians) -> list[Verdict]:
    limits: Mapping[str, tuple[str, int]] = {
        "text_20": ("text of 20 snapshots", 600),
        "text_100": ("text of 100 snapshots", 2_600),
        "definitions_core": ("definitions of the core tools", 1_300),
        "definitions": ("definitions of all tools", 3_000),
        "inspect": ("text of one snapshot", 350),
    }
    return [
        Verdict(title, medians.median(key), limit, "tokens")
        for key, (title, limit) in limits.items()
    ]


def _worst(
    measure: Callable[[str], float | None], queries: list[str], factor: float = 1
) -> float | None:
    values = [value for query in queries if (value := measure(query)) is not None]
    return max(values) * factor if values else None


def _divide(value: float | None, divisor: float | None) -> float | None:
    return None if value is None or not divisor else value / divisor
