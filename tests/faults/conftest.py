"""Fixtures of the fault tests."""

import shutil
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import anyio
import pytest
from mcp import Client

from snapshot_mcp.settings.environment import CLOUD_FILE
from tests.conftest import ERAS
from tests.faults.world import FaultyWorld, seed


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a new cloud with a change log; created once and copied for each test."""
    return anyio.run(partial(seed, tmp_path_factory.mktemp("template")))


@pytest.fixture
def world(tmp_path: Path, template: Path) -> FaultyWorld:
    shutil.copy(template, tmp_path / CLOUD_FILE)
    return FaultyWorld(tmp_path)


@pytest.fixture(params=ERAS)
async def client(world: FaultyWorld, request: pytest.FixtureRequest) -> AsyncGenerator[Client]:
    """A client of each protocol era in turn, or of the era that the test selects."""
    async with world.client(request.param) as client:
        yield client
