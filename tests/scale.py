"""Sizes of tests: how many examples, cases and steps a run tries.

A Hypothesis profile selects the size of the whole run: `quick` for `make test`, `deep` for
`make test-deep`, and `soak` for `make test-soak`.
"""

from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")


def register_profiles() -> None:
    """Register the profiles, and load the quick one; `--hypothesis-profile` selects another.

    The quick profile tries the same examples in every run, so that a commit that changes nothing
    cannot fail.
    """
    # How long an example takes says nothing on a busy machine.
    unhurried = settings(
        deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )
    settings.register_profile("quick", unhurried, max_examples=25, derandomize=True)
    settings.register_profile("deep", unhurried, max_examples=300)
    settings.register_profile("soak", unhurried, max_examples=2_000)
    settings.load_profile("quick")


def scale(*, quick: T, deep: T, soak: T | None = None) -> T:
    """Return the size for the profile of this run.

    Args:
        quick: size in `make test`.
        deep: size in `make test-deep`.
        soak: size in `make test-soak`; the same as `deep` when it is None.
    """
    match settings.get_current_profile_name():
        case "soak" if soak is not None:
            return soak
        case "deep" | "soak":
            return deep
        case _:
            return quick
