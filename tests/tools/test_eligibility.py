"""VMs that cannot be snapshotted: list_virtual_machines, create_snapshot and review_snapshots."""

from typing import Any

import pytest
from mcp import Client

from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import creation_arguments, find_vm
from tests.tools.rewritten_replies import rewrite_replies, set_fields

pytestmark = pytest.mark.one_era

NEVER: list[tuple[dict[str, object], str]] = [
    ({"cluster_id": 12}, "it is a node of a cluster"),
    ({"volume_attachments": [{"bootable": True}]}, "it runs on a bootable volume"),
    ({"volume_attachments": [{"volume": {"bootable": True}}]}, "it runs on a bootable volume"),
    ({"flavor": {"name": "x", "features": {"no_snapshot": True}}}, "does not allow snapshots"),
    ({"flavor": {"name": "x", "features": {"api_only": True}}}, "over the API only"),
]


@pytest.mark.parametrize(("fields", "reason"), NEVER)
async def test_a_vm_that_is_never_snapshotted_is_not_reported_as_unprotected(
    world: World, client: Client, fields: dict[str, object], reason: str
) -> None:
    arguments = await creation_arguments(client)
    vm_id = arguments["vm_id"]
    assert isinstance(vm_id, int)
    rewrite_replies(world, vm=set_fields({vm_id}, **fields))
    world.manual_clock.advance(days=40)

    vm = await find_vm(client, id=vm_id)
    assert vm["can_snapshot"] is False
    assert reason in str(vm["why_not"])
    error = await call_tool_error(client, "create_snapshot", **arguments)
    assert reason in error
    assert world.writes == []

    review, text = await call_tool_with_text(client, "review_snapshots", limit=100)
    assert vm_id not in {row["id"] for row in review["no_recent"]["virtual_machines"]}
    assert vm_id in {row["id"] for row in review["cannot_snapshot"]["virtual_machines"]}
    assert reason in text


@pytest.mark.parametrize("field", ["status", "cluster_id", "volume_attachments", "flavor"])
async def test_an_omitted_fact_is_unknown_and_the_cloud_decides(
    world: World, client: Client, field: str
) -> None:
    arguments = await creation_arguments(client)
    vm_id = arguments["vm_id"]

    def omit(entry: dict[str, Any]) -> None:
        if entry["id"] == vm_id:
            entry.pop(field, None)

    rewrite_replies(world, vm=omit)
    vm = await find_vm(client, id=vm_id)
    assert "can_snapshot" not in vm
    assert "unknown" in str(vm["why_not"])
    _, text = await call_tool_with_text(client, "list_virtual_machines", limit=100)
    assert "unknown: it" in text
    created = await call_tool(client, "create_snapshot", **arguments, wait_seconds=0)
    assert created["outcome"] in ("created", "pending")


async def test_the_review_lists_stuck_and_deleting_snapshots(world: World, client: Client) -> None:
    page = await call_tool(client, "list_snapshots", state="ready", limit=2)
    stuck, deleting = (row["id"] for row in page["snapshots"])
    world.manual_clock.advance(days=3)

    def change(entry: dict[str, Any]) -> None:
        set_fields({stuck}, status="CREATING")(entry)
        set_fields({deleting}, status="DELETING")(entry)

    rewrite_replies(world, listed=change, single=change)
    review, text = await call_tool_with_text(client, "review_snapshots")
    assert [row["id"] for row in review["stuck"]["snapshots"]] == [stuck]
    assert [row["id"] for row in review["deleting"]["snapshots"]] == [deleting]
    assert "Stuck: pending for over a day" in text
    assert "Being deleted" in text
