"""The stage for hostile replies: one server, which outlives what is done to it in one file."""

import logging
from collections.abc import AsyncGenerator, Generator

import pytest

from tests.hostile.raw_cloud import KEY
from tests.hostile.scene import Harness, open_harness


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Harness]:
    async with open_harness(tmp_path_factory.mktemp("stage")) as played:
        yield played


@pytest.fixture
def clean_log(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """No crash is logged, and the key never is."""
    caplog.set_level(logging.INFO)
    yield
    crashes = [it for it in caplog.records if it.levelno >= logging.ERROR or it.exc_info]
    assert crashes == []
    assert KEY not in caplog.text
