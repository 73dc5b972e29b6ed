"""Everything that a server keeps is private, and a key that others can use stops it."""

import stat
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from mcp import Client

from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from snapshot_mcp.settings.signing_key import KEY_FILE
from tests.conftest import World, call_tool, call_tool_error
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot
from tests.umask import use_umask

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists instead")


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Generator[int]:
    """A umask that hides nothing, and the usual one."""
    with use_umask(request.param):
        yield request.param


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of everything in a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
    }


def exposed(folder: Path) -> dict[str, str]:
    """Return what is not 600, or 700 for folders."""
    return {
        name: f"{mode:o}"
        for name, mode in modes(folder).items()
        if mode != (0o700 if (folder / name).is_dir() else 0o600)
    }


async def make_changes(world: World) -> None:
    async with world.client() as client:
        await call_tool(client, "create_snapshot", **await creation_arguments(client))
        await make_plan(client, "delete_snapshot", await ready_snapshot(client))
        assert {CLOUD_FILE, LEDGER_FILE, KEY_FILE, "owners"} <= modes(world.folder).keys()
        assert exposed(world.folder) == {}


@pytest.mark.usefixtures("umask")
async def test_every_file_is_private_in_an_existing_folder_and_in_a_new_one(
    world: World,
) -> None:
    world.folder.chmod(0o777)
    await make_changes(world)
    assert stat.S_IMODE(world.folder.stat().st_mode) == 0o777
    new = world.folder / "new" / "data"
    world.settings = world.settings.model_copy(update={"data_dir": new})
    async with world.client() as client:
        await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    assert exposed(new.parent.parent) == {}


async def test_files_that_an_earlier_version_left_open_are_private_after_the_next_start(
    world: World,
) -> None:
    await make_changes(world)
    for path in world.folder.glob("*"):
        if path.is_file() and path.name != KEY_FILE:
            path.chmod(0o644)
    await make_changes(world)


def readable_by_others(key: Path) -> None:
    key.chmod(0o644)


def writable_by_others(key: Path) -> None:
    key.chmod(0o602)


def replaced_by_a_link(key: Path) -> None:
    key.symlink_to(key.rename(key.with_name("elsewhere")))


@pytest.mark.parametrize("expose", [readable_by_others, writable_by_others, replaced_by_a_link])
async def test_nothing_is_sent_with_a_key_that_others_can_use(
    world: World, client: Client, expose: Callable[[Path], object]
) -> None:
    await make_plan(client, "delete_snapshot", await ready_snapshot(client))
    expose(world.folder / KEY_FILE)
    arguments = await creation_arguments(client)
    snapshot = await ready_snapshot(client)
    async with world.client() as other:
        for error in (
            await call_tool_error(other, "create_snapshot", **arguments),
            await call_tool_error(other, "delete_snapshot", snapshot_id=snapshot["id"]),
        ):
            assert "The signing key of plans cannot be trusted" in error
            assert "Nothing was changed" in error
        await call_tool(other, "list_snapshots", limit=1)
    assert world.writes == []
