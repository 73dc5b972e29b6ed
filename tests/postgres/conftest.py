"""A real PostgreSQL takes a while to start, so SNAPSHOT_MCP_DEEP=1 asks for these tests."""

import os
from collections.abc import Generator

import pytest

from tests.postgres.server import Server
from tests.postgres.shared import Shared

collect_ignore_glob = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_*.py"]


@pytest.fixture
def shared(postgres: Server) -> Generator[Shared]:
    shared = Shared(postgres)
    yield shared
    shared.close()
