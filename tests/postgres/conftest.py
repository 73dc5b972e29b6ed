"""Fixtures of the tests with a real PostgreSQL."""

from collections.abc import Generator

import pytest

from tests.postgres.server import Server
from tests.postgres.shared import Shared


@pytest.fixture
def shared(postgres: Server) -> Generator[Shared]:
    shared = Shared(postgres)
    yield shared
    shared.close()
