"""Reads that show an earlier state of the embedded cloud, to every server of a world."""

import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx

from snapshot_mcp.mcp_server.app import embedded_transport
from snapshot_mcp.settings.environment import CLOUD_FILE, Settings
from tests.conftest import World


@asynccontextmanager
async def stale_reads(world: World, *, only_lists: bool = False) -> AsyncGenerator[None]:
    """Show the present state of the cloud in every later read within the block.

    Args:
        world: the world.
        only_lists: lists and name checks are stale, and reads of one object are not.
    """
    folder = world.folder / "earlier"
    _copy_cloud(world.cloud_file, folder / CLOUD_FILE)
    earlier = embedded_transport(Settings(data_dir=folder), world.manual_clock.clock)

    async def answer(request: httpx.Request) -> httpx.Response | None:
        if request.method != "GET" or (only_lists and _names_one_object(request)):
            return None
        return await earlier.handle_async_request(request)

    world.fail(answer)
    yield
    world.fail(None)


def _names_one_object(request: httpx.Request) -> bool:
    return request.url.path.rpartition("/")[2].isdigit()


def _copy_cloud(cloud: Path, copy: Path) -> None:
    shutil.rmtree(copy.parent, ignore_errors=True)
    copy.parent.mkdir()
    with closing(sqlite3.connect(cloud)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
