"""Helpers of the fault tests: the writing tools, their arguments, and their parametrization."""

from collections.abc import Sequence

import pytest
from anyio.lowlevel import checkpoint
from mcp import Client

from tests.conftest import ERAS
from tests.faults.faults import Fault
from tests.scale import scale
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot

ALL_CASES = scale(quick=False, deep=True)
TOOLS = ("create_snapshot", "restore_snapshot", "delete_snapshot", "create_image_from_snapshot")
HAPPENED = {
    "create_snapshot": "created",
    "restore_snapshot": "restored",
    "delete_snapshot": "deleted",
    "create_image_from_snapshot": "created",
}


async def commit_arguments(client: Client, tool: str) -> dict[str, object]:
    """Return the arguments of an approved write that waits for its end."""
    if tool == "create_snapshot":
        return await creation_arguments(client) | {"wait_seconds": 60}
    if tool == "create_image_from_snapshot":
        return {"snapshot_id": (await ready_snapshot(client))["id"], "name": "base-image"}
    commit, _ = await make_plan(client, tool, await ready_snapshot(client))
    return commit | ({"wait_seconds": 60} if tool == "restore_snapshot" else {})


def under(faults: Sequence[Fault]) -> pytest.MarkDecorator:
    """Run every tool in both eras under the first fault, and one of them under each other fault."""
    every = [(era, tool) for era in ERAS for tool in TOOLS]
    cases = [
        pytest.param(era, tool, fault, id=f"{era}-{tool}-{fault!r}")
        for place, fault in enumerate(faults)
        for era, tool in (every if place == 0 or ALL_CASES else [every[place % len(every)]])
    ]
    return pytest.mark.parametrize(("client", "tool", "fault"), cases, indirect=["client"])


async def let_cancellation_arrive() -> None:
    """Hold the request until the server has received the cancellation."""
    for _ in range(20):
        await checkpoint()
