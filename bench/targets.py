"""What the server must show, and whether a run showed it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.account_size import QUERIES, growth_key
from bench.authentication import LIMIT, auth_key
from bench.measurements import Measures
from bench.servers import BARE, DIRECT, OURS, PEER
from bench.throughput import CLIENTS

SMALL, MIDDLE, LARGE = 1_000, 10_000, 100_000
DELAY = 30
"""Milliseconds after which an upstream that is not on the same machine answers."""
NOISE = 1.25
"""Medians that lie so close together count as the same: machines that do other things too drift."""


class Verdict(NamedTuple):
    """One target.

    Attributes:
        target: what was to be shown.
        value: what was measured; None if the run did not measure it.
        limit: the most that it may be.
        unit: of both.
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


class _Run:
    """Reads the medians of a run; None for what it does not have."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def median(self, key: str, name: str = OURS) -> float | None:
        measure = self._measures.get(key)
        found = measure.values.get(name) if measure else None
        return found.median if found else None

    def ratio(self, key: str, to: str) -> float | None:
        return _divided(self.median(key), self.median(key, to))

    def growth(self, query: str, larger: int, smaller: int) -> float | None:
        return _divided(
            self.median(growth_key(query, larger)), self.median(growth_key(query, smaller))
        )


def verdicts(measures: Measures) -> list[Verdict]:
    """Every target, with what the run says about it."""
    run = _Run(measures)
    return [*_against_others(run), *_growing(run), _authentication(run), *_tokens(run)]


def _against_others(run: _Run) -> list[Verdict]:
    told = {BARE: "bare", PEER: "fastmcp"}
    wanted = (
        ("cold start", "cold_start", BARE, 1.10),
        ("cold start", "cold_start", PEER, 0.65),
        ("read overhead", "overhead", PEER, 0.9),
        ("read overhead", "overhead", BARE, 1.0),
        ("idle memory", "idle_rss", BARE, 1.15),
        ("20 at once", "at_once", BARE, 1.0),
        ("text tokens of 20 snapshots", "text_20", PEER, 0.3),
    )
    return [
        Verdict(title, run.ratio(key, other), limit, f"x {told[other]}")
        for title, key, other, limit in wanted
    ]


def _growing(run: _Run) -> list[Verdict]:
    small, large = run.median(growth_key("peak", SMALL)), run.median(growth_key("peak", LARGE))
    filters = [query for query, arguments in QUERIES.items() if arguments]
    return [
        Verdict(
            f"first page of {LARGE:,} snapshots",
            run.growth("first page", LARGE, SMALL),
            NOISE,
            f"x that of {SMALL:,}",
        ),
        Verdict(
            f"filtered, time for each of {LARGE:,} snapshots",
            _worst(lambda query: run.growth(query, LARGE, SMALL), filters, SMALL / LARGE),
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
            f"{MIDDLE:,} snapshots filtered, each answer after {DELAY} ms",
            _worst(lambda query: run.ratio(growth_key(query, MIDDLE, DELAY), DIRECT), filters),
            1.2,
            "x bare fetching",
        ),
        Verdict(
            f"{MIDDLE:,} snapshots filtered, each answer at once",
            _worst(lambda query: run.ratio(growth_key(query, MIDDLE), DIRECT), filters),
            1.2,
            "x bare fetching",
        ),
    ]


def _authentication(run: _Run) -> Verdict:
    found = [value for it in CLIENTS if (value := run.median(auth_key(it))) is not None]
    return Verdict(
        "call over HTTP with authentication", max(found, default=None), LIMIT, "x without"
    )


def _tokens(run: _Run) -> list[Verdict]:
    limits: Mapping[str, tuple[str, int]] = {
        "text_20": ("text of 20 snapshots", 600),
        "text_100": ("text of 100 snapshots", 2_600),
        "definitions_core": ("definitions of the core tools", 1_300),
        "definitions": ("definitions of all tools", 3_000),
        "inspect": ("text of one snapshot", 350),
    }
    return [
        Verdict(title, run.median(key), limit, "tokens") for key, (title, limit) in limits.items()
    ]


def _worst(
    measure: Callable[[str], float | None], queries: list[str], factor: float = 1
) -> float | None:
    values = [value for query in queries if (value := measure(query)) is not None]
    return max(values) * factor if values else None


def _divided(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by
