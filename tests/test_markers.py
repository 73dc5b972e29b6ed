"""Markers that are derived from a test."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from tests.markers import (
    ERAS,
    find_era_twins,
    find_repeated_cases,
    find_unsampled_cases,
    is_measured,
)


@dataclass(eq=False)
class FakeItem:
    """The part of a collected test that the markers depend on."""

    nodeid: str
    markers: tuple[str, ...] = ()
    obj: object = None
    fixturenames: tuple[str, ...] = ()

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return getattr(pytest.mark, name)(3).mark if name in self.markers else None


def item(name: str, *markers: str, obj: object = None) -> pytest.Item:
    return cast("pytest.Item", FakeItem(f"tests/{name}", markers, obj))


def test_one_era_of_each_case_is_postponed_and_both_eras_get_their_share() -> None:
    names = [f"tools/test_create.py::test_{number}" for number in range(20)]
    pairs = [[item(f"{name}[{era}-x]", "one_era") for era in ERAS] for name in names]
    postponed = find_era_twins(test for pair in pairs for test in pair)
    assert all(len(postponed.intersection(pair)) == 1 for pair in pairs)
    assert {pair.index(test) for pair in pairs for test in postponed.intersection(pair)} == {0, 1}


@pytest.mark.parametrize(
    "tests",
    [
        [item(f"tools/test_create.py::test_a[{ERAS[0]}]", "one_era")],
        [
            item(f"tools/test_create.py::test_a[{ERAS[0]}-x]", "one_era"),
            item(f"tools/test_create.py::test_a[{ERAS[1]}-y]", "one_era"),
        ],
        [item(f"tools/test_elicitation.py::test_a[{era}]") for era in ERAS],
    ],
    ids=["no twin", "different cases", "both eras matter"],
)
def test_a_case_without_a_twin_or_without_the_marker_runs_in_every_run(
    tests: list[pytest.Item],
) -> None:
    assert find_era_twins(tests) == set()


@pytest.mark.parametrize(
    ("test", "measured"),
    [
        (item("a.py::test_a", obj=SimpleNamespace()), True),
        (item("a.py::test_a", obj=SimpleNamespace(is_hypothesis_test=True)), False),
        (item("a.py::test_a", "no_cover", obj=SimpleNamespace()), False),
    ],
    ids=["plain", "property test", "marked"],
)
def test_property_tests_and_marked_tests_are_not_measured(
    test: pytest.Item, *, measured: bool
) -> None:
    assert is_measured(test) is measured


def test_the_first_two_cases_and_the_last_of_a_test_through_the_server_are_measured() -> None:
    slow, *cases = (
        item(f"tools/test_a.py::test_a[{number}]", *(["slow"] if number == 0 else []))
        for number in range(6)
    )
    unit = [item(f"unit/test_b.py::test_b[{number}]") for number in range(6)]
    for test in (slow, *cases):
        cast("FakeItem", test).fixturenames = ("tmp_path", "world")
    assert find_repeated_cases([slow, *cases, *unit]) == {cases[1], cases[2], cases[3]}


def test_the_first_of_every_n_cases_of_a_sampled_test_is_tried() -> None:
    cases = [item(f"tools/test_a.py::test_a[{number}]", "sampled") for number in range(7)]
    other = item("tools/test_a.py::test_b[0]")
    assert find_unsampled_cases([*cases, other]) == {cases[i] for i in (1, 2, 4, 5)}
