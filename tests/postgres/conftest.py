"""Fixtures of the tests with a real PostgreSQL."""

from collections.abc import Generator

import pytest

from tests.postgres.server import Server
from tests.postgres.shared_database import SharedDatabase


@pytest.fixture
def shared(postgres: Server) -> Generator[SharedDatabase]:
    shared = SharedDatabase(postgres)
    yield shared
    shared.close()
