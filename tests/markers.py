"""Markers that are derived from a test, beside those that it declares (see `pyproject.toml`).

A module marked `one_era` has tests whose path through this server is the same in both protocol
eras: `make test` tries each of their cases with one era, and the twin in the other era is `slow`.
So are the cases of a `sampled` test that `make test` omits.

Coverage doubles the time of what it measures. Property tests, and modules that repeat the same
paths a thousand times, are not measured: they run no line that other tests do not, and generated
examples would make the percentage depend on chance. Of a parametrized test through the whole
server, the first and the last case are measured: the others take nearly the same paths.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from zlib import crc32

import pytest

ERAS = ("legacy", "2026-07-28")
_ERA = re.compile("|".join(map(re.escape, ERAS)))


def find_era_twins(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return one test of each pair of `one_era` tests that differ only in the era."""
    pairs = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if item.get_closest_marker("one_era"):
            pairs[_ERA.sub("", item.nodeid)].append(item)
    return {
        item
        for name, pair in pairs.items()
        for item in pair
        if item is not pair[crc32(name.encode()) % len(pair)]
    }


def find_unsampled_cases(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the cases of `sampled` tests that are not the first of every n of their test."""
    tests = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if item.get_closest_marker("sampled"):
            tests[item.nodeid.partition("[")[0]].append(item)
    return {
        case
        for cases in tests.values()
        for number, case in enumerate(cases)
        if (marker := case.get_closest_marker("sampled")) and number % marker.args[0]
    }


def find_repeated_cases(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the cases of tests through the whole server between the first and the last."""
    tests = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if "world" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("slow"):
            tests[item.nodeid.partition("[")[0]].append(item)
    return {case for cases in tests.values() for case in cases[1:-1]}


def is_measured(item: pytest.Item) -> bool:
    """Return whether coverage measures this test."""
    is_property_test = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return not is_property_test and item.get_closest_marker("no_cover") is None


def add_derived_markers(items: list[pytest.Item]) -> None:
    """Add `slow` and `no_cover` where they follow from the test, and put unmeasured tests last.

    A module that is imported late must be imported by a measured test first.
    """
    unsampled = find_unsampled_cases(items)
    for item in unsampled | find_era_twins(item for item in items if item not in unsampled):
        item.add_marker("slow")
    repeated = find_repeated_cases(items)
    for item in items:
        if item in repeated or not is_measured(item):
            item.add_marker("no_cover")
    items.sort(key=lambda item: item.get_closest_marker("no_cover") is not None)
