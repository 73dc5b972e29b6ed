"""Both kinds of ledgers, for the promises that both keep."""

from collections.abc import Generator
from contextlib import ExitStack

import pytest

from tests.units.ledgers import KINDS, Books, Databases, Files


@pytest.fixture(params=KINDS)
def books(request: pytest.FixtureRequest) -> Generator[Books]:
    if request.param == "file":
        yield Files()
        return
    with ExitStack() as stack:
        yield Databases(request.getfixturevalue("postgres"), stack)
