"""The path of a committed write: short, and always from a higher layer to a lower one."""

import inspect
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from types import FrameType

import httpx
import pytest
from mcp import Client

from tests.conftest import World, call_tool
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot

pytestmark = pytest.mark.one_era

LAYERS = (
    {"core"},
    {"models", "sandbox"},
    {"cloud", "rules"},
    {"settings"},
    {"ledger", "telemetry"},
    {"consent"},
    {"operations"},
    {"mcp_server"},
)
"""The packages from the lowest to the highest; import-linter checks their imports."""

MAX_FILES = 15
MARKER = "/server/snapshot_mcp/"
TOOLS = ("create_snapshot", "restore_snapshot", "delete_snapshot", "create_image_from_snapshot")
PORTS = {
    "consent": ("ClientApprover.*", "*.send", "*.check", "*.remark"),
    "operations": ("Subscriptions.notify_resource_updated",),
}
"""Functions of a higher layer that a lower one may call: the approver, a write and its check, and
subscribers."""


def own_file(frame: FrameType) -> str:
    """Return the file of this project that a frame runs; empty for other code."""
    return frame.f_code.co_filename.partition(MARKER)[2]


def own_frames(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Yield the file and qualified name of each frame of this project, innermost first."""
    while frame is not None:
        if name := own_file(frame):
            yield name, frame.f_code.co_qualname
        frame = frame.f_back


def layer(file: str) -> int:
    package = file.partition("/")[0]
    return next(place for place, packages in enumerate(LAYERS) if package in packages)


async def write_arguments(client: Client, tool: str) -> dict[str, object]:
    """Return the arguments of a call that sends a write."""
    match tool:
        case "create_snapshot":
            return await creation_arguments(client)
        case "create_image_from_snapshot":
            return {"snapshot_id": (await ready_snapshot(client))["id"], "name": "base-image"}
        case _:
            arguments, _ = await make_plan(client, tool, await ready_snapshot(client))
            return arguments


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_write_passes_few_files_and_goes_down_through_the_layers(
    world: World, client: Client, tool: str
) -> None:
    paths: list[list[str]] = []

    async def record_path(request: httpx.Request) -> None:
        if request.method != "GET":
            files = [file for file, _ in own_frames(inspect.currentframe())]
            start = next(place for place, file in enumerate(files) if "/tools/" in file)
            paths.append(files[: start + 1])

    arguments = await write_arguments(client, tool)
    world.fail(record_path)
    await call_tool(client, tool, **arguments)
    (path,) = paths
    assert {"consent/gate.py", "consent/write_once.py", "cloud/connection.py"} <= set(path)
    assert len(set(path)) <= MAX_FILES
    layers = [layer(file) for file in path]
    assert layers == sorted(layers), path


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_lower_layer_calls_a_higher_one_only_through_its_ports(
    client: Client, tool: str
) -> None:
    upward: set[tuple[str, str]] = set()

    def note_call(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or not own_file(frame):
            return
        (called, name), *outer = own_frames(frame)
        if outer and layer(outer[0][0]) < layer(called):
            upward.add((outer[0][0].partition("/")[0], name))

    arguments = await write_arguments(client, tool)
    sys.setprofile(note_call)
    try:
        await call_tool(client, tool, **arguments)
    finally:
        sys.setprofile(None)
    assert upward
    for caller, name in upward:
        assert any(fnmatch(name, port) for port in PORTS.get(caller, ())), (caller, name)
