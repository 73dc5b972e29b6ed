"""Fixtures of the tests with a hostile cloud: one server for all tests of a file."""

import logging
from collections.abc import AsyncGenerator, Generator

import pytest

from tests.hostile.harness import Harness, open_harness
from tests.hostile.raw_cloud import KEY


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def harness(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Harness]:
    async with open_harness(tmp_path_factory.mktemp("hostile")) as harness:
        yield harness


@pytest.fixture
def clean_log(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Check that neither a crash nor the key is logged."""
    caplog.set_level(logging.INFO)
    yield
    crashes = [
        record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info
    ]
    assert crashes == []
    assert KEY not in caplog.text
