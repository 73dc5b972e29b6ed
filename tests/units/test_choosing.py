"""What the default run leaves to `make test-deep`: never a case in both of its eras."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from tests.choosing import ERAS, measured_here, spared


@dataclass(eq=False)
class Case:
    """What is known of a test."""

    nodeid: str
    obj: object = None


def item(name: str, obj: object = None) -> pytest.Item:
    return cast("pytest.Item", Case(f"tests/{name}", obj))


def test_of_two_cases_that_differ_in_their_era_alone_one_is_left_out_now_this_now_that() -> None:
    cases = [f"tools/test_create.py::test_{number}" for number in range(20)]
    twins = {case: [item(f"{case}[{era}-x]") for era in ERAS] for case in cases}
    left_out = spared(it for pair in twins.values() for it in pair)
    assert all(len(left_out.intersection(pair)) == 1 for pair in twins.values())
    assert {pair.index(it) for pair in twins.values() for it in left_out & {*pair}} == {0, 1}


@pytest.mark.parametrize(
    "names",
    [
        [f"tools/test_create.py::test_a[{ERAS[0]}]"],
        [
            f"tools/test_create.py::test_a[{ERAS[0]}-x]",
            f"tools/test_create.py::test_a[{ERAS[1]}-y]",
        ],
        [f"processes/test_a.py::test_a[{era}]" for era in ERAS],
    ],
)
def test_a_case_without_a_twin_or_with_a_process_of_its_own_stays(names: list[str]) -> None:
    assert spared(map(item, names)) == set()


@pytest.mark.parametrize(
    ("one", "measured"),
    [
        (item("units/test_a.py::test_a", SimpleNamespace()), True),
        (item("units/test_a.py::test_a", SimpleNamespace(is_hypothesis_test=True)), False),
        (item("hostile/test_a.py::test_a", SimpleNamespace()), False),
    ],
)
def test_what_is_drawn_or_done_a_thousand_times_is_not_measured(
    one: pytest.Item, *, measured: bool
) -> None:
    assert measured_here(one) is measured


def test_what_asks_lists_or_reports_is_tried_with_both() -> None:
    twins = [item(f"tools/test_asking.py::test_a[{era}-x]") for era in ERAS]
    assert spared(twins) == set()
