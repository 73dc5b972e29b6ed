"""Snapshots that stay in a pending status: deletable after a day, with a warning."""

import pytest
from mcp import Client

from tests.conftest import World, call_tool, call_tool_error
from tests.tools.helpers import (
    change_cloud,
    deleted_ids,
    make_plan,
    make_retention_plan,
    plan_arguments,
)
from tests.tools.rewritten_replies import rewrite_replies, set_fields

pytestmark = pytest.mark.one_era

STUCK = 1704
"""A snapshot that is months old in the embedded cloud."""


def make_pending(world: World, created_at: str | None, status: str = "CREATING") -> None:
    change = set_fields({STUCK}, status=status, created_at=created_at)
    rewrite_replies(world, listed=change, single=change)


@pytest.mark.parametrize("status", ["CREATING", "queued"])
async def test_a_snapshot_that_is_pending_for_days_can_be_deleted_with_a_warning(
    world: World, client: Client, status: str
) -> None:
    make_pending(world, "2026-10-31T12:00:00Z", status)
    commit, plan = await make_plan(client, "delete_snapshot", {"id": STUCK})
    (warning,) = plan["plan"]["warnings"]
    assert f"Its status has been {status} for more than a day." in warning
    assert plan["plan"]["last_ready_of_vm"] is False
    change_cloud(world, "DELETE FROM images WHERE snapshot_id = ?", STUCK)
    result = await call_tool(client, "delete_snapshot", **commit)
    assert result["outcome"] == "deleted"
    assert world.writes == [f"DELETE /v1/core/snapshots/{STUCK}"]


@pytest.mark.parametrize(
    "created_at",
    ["2026-11-20T11:00:00Z", "2026-11-19T12:00:01Z", "2026-12-24T00:00:00Z", None, "yesterday"],
)
async def test_a_pending_snapshot_that_is_young_or_of_unknown_age_cannot_be_deleted(
    world: World, client: Client, created_at: str | None
) -> None:
    make_pending(world, created_at)
    text = await call_tool_error(client, "delete_snapshot", snapshot_id=STUCK)
    assert "it is pending (status CREATING)" in text
    assert "Nothing was changed." in text


async def test_a_stuck_snapshot_that_becomes_ready_gets_a_new_plan(
    world: World, client: Client
) -> None:
    make_pending(world, "2026-10-31T12:00:00Z")
    commit, _ = await make_plan(client, "delete_snapshot", {"id": STUCK})
    world.tamper(None)
    again = await call_tool(client, "delete_snapshot", **commit)
    assert again["outcome"] == "confirmation_required"
    assert "status CREATING -> SUCCESS" in again["next_step"]
    assert world.writes == []


async def test_a_stuck_snapshot_can_neither_be_restored_nor_used_for_an_image(
    world: World, client: Client
) -> None:
    make_pending(world, "2026-10-31T12:00:00Z")
    restore = plan_arguments("restore_snapshot", {"id": STUCK})
    assert "it is pending" in await call_tool_error(client, "restore_snapshot", **restore)
    image = {"snapshot_id": STUCK, "name": "base-image"}
    assert "it is pending" in await call_tool_error(client, "create_image_from_snapshot", **image)


async def test_retention_keeps_pending_snapshots_even_if_they_are_stuck(
    world: World, client: Client
) -> None:
    make_pending(world, "2026-10-31T12:00:00Z")
    plan = await make_retention_plan(client, keep_last=1)
    assert STUCK not in deleted_ids(plan)
    (kept,) = (decision for decision in plan["decisions"] if decision["id"] == STUCK)
    assert kept["keep"]
    assert "it is pending" in " ".join(kept["reasons"])
