"""The tools enforce the operator's policy at the plan and again at the commit."""

from pathlib import Path

import pytest
from mcp import Client

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings
from tests.conftest import World, call_tool, call_tool_error
from tests.tools.helpers import creation_arguments, make_plan, ready_snapshot, set_policy


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('[protect]\nlabels = ["NIGHTLY"]', "protect.labels"),
        ('[protect]\nnames = ["training-*"]', "protect.names"),
        ("[protect]\nvm_ids = [793701]", "protect.vm_ids"),
        ("[protect]\nminimum_age_hours = 10000", "protect.minimum_age_hours"),
        ("[protect]\nkeep_newest = 1", "protect.keep_newest"),
        ("[limits]\ndeletes_per_hour = 0", "limits.deletes_per_hour"),
        ('[allow]\nregions = ["CANADA-1"]', "allow.regions"),
    ],
)
async def test_a_protected_snapshot_is_not_even_planned_for_deletion(
    world: World, text: str, rule: str
) -> None:
    set_policy(world, text)
    async with world.client() as client:
        snapshot = await ready_snapshot(client)
        refusal = await call_tool_error(client, "delete_snapshot", snapshot_id=snapshot["id"])
    assert f"Rule: {rule}. Nothing was changed. No argument overrides the policy" in refusal
    assert world.writes == []
    (row,) = await world.ledger()
    assert (row.event, row.target) == ("refused", snapshot["id"])
    assert rule in row.reason


async def test_a_plan_made_before_a_rule_is_refused_under_it(world: World) -> None:
    async with world.client() as client:
        delete, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
        restore, _ = await make_plan(client, "restore_snapshot", await ready_snapshot(client))
    set_policy(world, '[protect]\nlabels = ["nightly"]\n[limits]\nrestores_per_hour = 0')
    async with world.client() as client:
        assert "Rule: protect.labels." in await call_tool_error(client, "delete_snapshot", **delete)
        refusal = await call_tool_error(client, "restore_snapshot", **restore)
        assert "Rule: limits.restores_per_hour." in refusal
    assert world.writes == []
    assert await world.attempts() == []


async def test_the_last_copy_is_kept_when_all_others_are_deleted(world: World) -> None:
    set_policy(world, "[protect]\nkeep_last_copy = true")
    async with world.client() as client:
        page = await call_tool(client, "list_snapshots", vm_id=793708, state="ready")
        (only,) = page["snapshots"]
        refusal = await call_tool_error(client, "delete_snapshot", snapshot_id=only["id"])
    assert "Rule: protect.keep_last_copy." in refusal


async def test_the_hourly_limit_of_deletions_is_enforced(world: World) -> None:
    set_policy(world, "[limits]\ndeletes_per_hour = 2")
    async with world.client() as client:
        for _ in range(2):
            commit, _ = await make_plan(client, "delete_snapshot", await ready_snapshot(client))
            assert (await call_tool(client, "delete_snapshot", **commit))["outcome"] == "deleted"
        snapshot = await ready_snapshot(client)
        refusal = await call_tool_error(client, "delete_snapshot", snapshot_id=snapshot["id"])
        assert "Rule: limits.deletes_per_hour." in refusal
        world.manual_clock.advance(hours=1, minutes=1)
        commit, _ = await make_plan(client, "delete_snapshot", snapshot)
        assert (await call_tool(client, "delete_snapshot", **commit))["outcome"] == "deleted"


async def test_changes_are_possible_in_the_allowed_regions_only(world: World) -> None:
    async with world.client() as client:
        wanted = await creation_arguments(client)
        snapshot = await ready_snapshot(client)
    set_policy(world, '[allow]\nregions = ["NOWHERE-1"]')
    async with world.client() as client:
        assert "Rule: allow.regions." in await call_tool_error(client, "create_snapshot", **wanted)
        arguments = {"snapshot_id": snapshot["id"], "new_vm_name": "x"}
        assert "Rule: allow.regions." in await call_tool_error(
            client, "restore_snapshot", **arguments
        )
    assert world.writes == []


async def test_tools_that_are_not_allowed_are_neither_listed_nor_callable(world: World) -> None:
    set_policy(world, '[allow]\ntools = ["list_snapshots", "inspect_snapshot"]')
    async with world.client() as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["list_snapshots", "inspect_snapshot"]
        assert "delete_snapshot" in await call_tool_error(
            client, "delete_snapshot", snapshot_id=1701
        )
    assert world.writes == []


async def test_the_policy_can_be_read_as_a_resource(world: World, client: Client) -> None:
    listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
    assert "snapshot://policy" in listed
    set_policy(world, "[limits]\ndeletes_per_hour = 2")
    async with world.client() as other:
        (content,) = (await other.read_resource("snapshot://policy")).contents
    assert '"deletes_per_hour":2' in content.model_dump_json().replace("\\", "")


def test_a_mistake_in_the_policy_prevents_the_start(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[protect]\nlabel = []", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r'there is no rule "protect\.label"'):
        create_server(Settings(policy=path))
