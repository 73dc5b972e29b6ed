"""Snapshots that are being deleted: shown as such, and not counted as copies."""

import pytest
from mcp import Client

from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import deleted_ids, make_retention_plan, ready_snapshot, set_policy
from tests.tools.rewritten_replies import rewrite_replies, set_fields

pytestmark = pytest.mark.one_era


def start_deleting(world: World, *snapshot_ids: int, status: str = "DELETING") -> None:
    change = set_fields(set(snapshot_ids), status=status)
    rewrite_replies(world, listed=change, single=change)


async def snapshots_of_vm_with(client: Client, minimum: int) -> list[int]:
    """Return the ready snapshots of a VM that has at least this number, newest first."""
    page = await call_tool(client, "list_snapshots", state="ready", limit=100)
    by_vm: dict[int, list[int]] = {}
    for row in page["snapshots"]:
        by_vm.setdefault(row["vm_id"], []).append(row["id"])
    return next(ids for ids in by_vm.values() if len(ids) >= minimum)


@pytest.mark.parametrize("status", ["DELETING", "deleted"])
async def test_a_deleting_snapshot_is_listed_and_filtered_as_such(
    world: World, client: Client, status: str
) -> None:
    snapshot_id = (await ready_snapshot(client))["id"]
    start_deleting(world, snapshot_id, status=status)
    page, text = await call_tool_with_text(client, "list_snapshots", state="deleting")
    assert [(row["id"], row["state"]) for row in page["snapshots"]] == [(snapshot_id, "deleting")]
    assert "; deleting" in text
    assert (await ready_snapshot(client))["id"] != snapshot_id


@pytest.mark.parametrize(
    ("status", "statement"),
    [
        ("DELETING", "It is being deleted: it cannot be restored"),
        ("ERROR", "It failed: it cannot be restored"),
        ("CREATING", "stuck: it is not a copy of its VM, and can be deleted"),
    ],
)
async def test_inspect_does_not_call_a_snapshot_that_is_not_ready_the_newest(
    world: World, client: Client, status: str, statement: str
) -> None:
    newest = (await snapshots_of_vm_with(client, 2))[0]
    change = set_fields({newest}, status=status)
    rewrite_replies(world, listed=change, single=change)
    world.manual_clock.advance(days=3)
    details, text = await call_tool_with_text(client, "inspect_snapshot", snapshot_id=newest)
    assert (details["last_ready_of_vm"], details["newest_of_vm"]) == (False, False)
    assert "newest ready" not in text
    assert statement in text
    assert details.get("stuck") is (True if status == "CREATING" else None)


async def test_nothing_can_be_made_of_a_deleting_snapshot(world: World, client: Client) -> None:
    snapshot_id = (await ready_snapshot(client))["id"]
    start_deleting(world, snapshot_id)
    for tool, arguments in (
        ("delete_snapshot", {}),
        ("restore_snapshot", {"new_vm_name": "back-again"}),
        ("create_image_from_snapshot", {"name": "image-of-it"}),
    ):
        error = await call_tool_error(client, tool, snapshot_id=snapshot_id, **arguments)
        assert "it is being deleted (status DELETING)" in error
    assert world.writes == []


async def test_retention_keeps_a_deleting_snapshot_and_does_not_count_it(
    world: World, client: Client
) -> None:
    newest, second, *_ = await snapshots_of_vm_with(client, 3)
    start_deleting(world, newest)
    plan = await make_retention_plan(client, keep_last=1)
    reasons = {row["id"]: row["reasons"] for row in plan["decisions"]}
    assert reasons[newest] == ["it is being deleted"]
    assert "last 1 of 1" in reasons[second]
    assert second not in deleted_ids(plan)


async def test_a_deleting_snapshot_is_no_copy_for_the_policy(world: World) -> None:
    set_policy(world, "[protect]\nkeep_last_copy = true\n")
    async with world.client() as client:
        last, *others = await snapshots_of_vm_with(client, 2)
        start_deleting(world, *others)
        error = await call_tool_error(client, "delete_snapshot", snapshot_id=last)
    assert "protect.keep_last_copy" in error
