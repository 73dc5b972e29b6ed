"""plan_retention: the decisions, their presentation, and the content of the plan."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp import Client

from snapshot_mcp.rules.cost import estimate_monthly_cost
from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text, count_tokens
from tests.tools.helpers import (
    LAST,
    POLICY,
    add_old_snapshots,
    change_cloud,
    deleted_ids,
    ids_of,
    make_retention_plan,
    set_policy,
)

pytestmark = pytest.mark.one_era


@pytest.fixture
async def modern_client(world: World) -> AsyncGenerator[Client]:
    """A client of the newer era, for behaviour that does not depend on the era."""
    async with world.client() as client:
        yield client


def decision_on(plan: dict[str, Any], number: int) -> dict[str, Any]:
    (found,) = [decision for decision in plan["decisions"] if decision["id"] == number]
    return found


async def test_a_plan_decides_on_every_snapshot_with_reasons_and_changes_nothing(
    world: World, client: Client
) -> None:
    everything = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    plan = await make_retention_plan(client, **POLICY)
    assert sorted(ids_of(plan["decisions"])) == sorted(ids_of(everything))
    assert all(decision["reasons"] for decision in plan["decisions"])
    assert plan["outcome"] == "confirmation_required"
    assert plan["total"] == len(everything) == plan["keep_count"] + plan["delete_count"]
    assert deleted_ids(plan) == [1704, 1722, 1723, 1726]
    assert plan["confirm_with"] == "delete 4 snapshots"
    assert plan["expires_at"] == "2026-11-20T12:10:00Z"
    assert world.writes == []


async def test_deletions_come_first_in_order_of_age(
    modern_client: Client,
) -> None:
    decisions = (await make_retention_plan(modern_client, **LAST))["decisions"]
    keeps = [decision["keep"] for decision in decisions]
    assert keeps == sorted(keeps)
    times = [decision["created_at"] for decision in decisions if not decision["keep"]]
    assert len(times) > 5
    assert times == sorted(times)


async def test_reasons_name_the_rule_its_place_and_its_period(modern_client: Client) -> None:
    plan = await make_retention_plan(modern_client, **POLICY)
    assert decision_on(plan, 1730)["reasons"] == [
        "daily 1 of 3, 2026-11-19",
        "weekly 1 of 2, 2026-W47",
    ]
    assert decision_on(plan, 1702)["reasons"] == ["label keep"]
    assert decision_on(plan, 1704)["reasons"] == ["no rule keeps it"]
    assert decision_on(plan, 1715)["reasons"] == ["it is failed"]
    assert decision_on(plan, 1730)["group"] == "VM 793701"


async def test_the_saved_cost_is_an_estimate_by_the_gigabyte(modern_client: Client) -> None:
    plan, text = await call_tool_with_text(modern_client, "plan_retention", **POLICY, limit=100)
    size = sum(decision["size"] for decision in plan["decisions"] if not decision["keep"])
    assert plan["reclaimed_gb"] == size
    assert plan["saved_per_month_estimate"] == estimate_monthly_cost(size)
    assert (
        f"{size} GB, about {plan['saved_per_month_estimate']:.2f} USD a month (an estimate)" in text
    )


async def test_the_ledger_records_the_plan_with_its_snapshots(world: World, client: Client) -> None:
    plan = await make_retention_plan(client, **POLICY)
    (row,) = await world.ledger()
    assert (row.event, row.tool, row.target) == ("planned", "apply_retention", 0)
    targets = json.loads(row.arguments)["targets"]
    assert [int(target.split()[0]) for target in targets] == deleted_ids(plan)
    assert "keep_daily 3" in row.reason


async def test_the_pages_of_one_plan_show_each_decision_once_and_have_one_token(
    world: World, client: Client
) -> None:
    page = await call_tool(client, "plan_retention", **POLICY, limit=7)
    shown_ids = ids_of(page["decisions"])
    totals = {name: page[name] for name in ("total", "keep_count", "delete_count", "reclaimed_gb")}
    assert "plan_token" in page
    while page["next_cursor"]:
        page = await call_tool(
            client, "plan_retention", **POLICY, limit=7, cursor=page["next_cursor"]
        )
        shown_ids += ids_of(page["decisions"])
        assert "plan_token" not in page
        assert "expires_at" not in page
        assert "its token came with the first page" in page["next_step"]
        assert totals.items() <= page.items()
    assert len(shown_ids) == len(set(shown_ids)) == totals["total"]
    assert [row.event for row in await world.ledger()] == ["planned"]


async def test_a_cursor_is_refused_if_the_decisions_have_changed(
    world: World, modern_client: Client
) -> None:
    page = await call_tool(modern_client, "plan_retention", **POLICY, limit=5)
    cursor = page["next_cursor"]
    other = POLICY | {"keep_daily": 2}
    refusal = await call_tool_error(
        modern_client, "plan_retention", **other, limit=5, cursor=cursor
    )
    assert "does not belong to these decisions" in refusal
    assert "Nothing was changed." in refusal
    await call_tool_error(modern_client, "plan_retention", **POLICY, cursor="tomorrow")
    change_cloud(world, "DELETE FROM snapshots WHERE id = 1726")
    refusal = await call_tool_error(
        modern_client, "plan_retention", **POLICY, limit=5, cursor=cursor
    )
    assert "snapshots have changed" in refusal


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "The policy is empty"),
        ({"group_by": "region", "time_zone": "Europe/Berlin"}, "The policy is empty"),
        ({"keep_last": -2}, "keep_last must be at least -1"),
        ({"keep_daily": 100_001}, "keep_daily must be at most 100000"),
        ({"keep_daily": "7"}, "keep_daily must be a whole number"),
        ({"keep_within": "soon"}, "keep_within must be whole years"),
        ({"keep_within": "0d"}, "keep_within must be whole years"),
        ({"keep_labels": [""]}, "keep_labels[0] must not be empty"),
        ({"keep_last": 1, "group_by": "owner"}, "group_by must be one of"),
        ({"keep_last": 1, "limit": 101}, "limit must be at most 100"),
    ],
)
async def test_an_empty_or_invalid_policy_is_refused(
    world: World, arguments: dict[str, object], sentence: str
) -> None:
    async with world.client() as client:
        refusal = await call_tool_error(client, "plan_retention", **arguments)
    assert sentence in refusal
    assert "Nothing was changed." in refusal
    assert await world.ledger() == []


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../etc/passwd", "", "x" * 300, "\0"])
async def test_an_unknown_time_zone_is_refused(world: World, zone: str) -> None:
    async with world.client() as client:
        refusal = await call_tool_error(client, "plan_retention", keep_daily=1, time_zone=zone)
    assert "time_zone must be the name of a time zone such as UTC or Europe/Berlin" in refusal


async def test_days_begin_in_the_given_time_zone(modern_client: Client) -> None:
    # The snapshots are taken after 02:00 UTC, which is the previous day in New York.
    plan = await make_retention_plan(modern_client, keep_daily=1, time_zone="America/New_York")
    assert "daily 1 of 1, 2026-11-18" in decision_on(plan, 1730)["reasons"]


async def test_a_plan_without_deletions_has_no_token(world: World, client: Client) -> None:
    plan, text = await call_tool_with_text(client, "plan_retention", keep_last=-1)
    assert plan["outcome"] == "nothing_to_delete"
    assert plan["delete_count"] == plan["reclaimed_gb"] == 0
    assert {"plan_token", "confirm_with", "expires_at"}.isdisjoint(plan)
    assert text.startswith("nothing_to_delete: keeps 30 of 30 snapshots\n")
    assert await world.ledger() == []


async def test_a_plan_can_be_limited_to_one_vm(modern_client: Client) -> None:
    plan = await make_retention_plan(modern_client, **LAST, vm_id=793705)
    assert {decision["vm_id"] for decision in plan["decisions"]} == {793705}
    assert plan["delete_count"] == 3
    empty = await make_retention_plan(modern_client, **LAST, vm_id=5)
    assert (empty["outcome"], empty["total"]) == ("nothing_to_delete", 0)


async def test_grouped_by_region_each_vm_still_keeps_its_newest(modern_client: Client) -> None:
    plan = await make_retention_plan(modern_client, **LAST, group_by="region")
    assert decision_on(plan, 1730)["reasons"] == ["last 1 of 1"]
    assert decision_on(plan, 1711)["reasons"] == ["the last ready copy of its VM"]
    assert decision_on(plan, 1711)["group"] == "region NORWAY-1"


async def test_the_newest_ready_copy_of_a_vm_is_deleted_only_if_the_policy_allows_it(
    world: World,
) -> None:
    keep_nothing_by_rule: dict[str, object] = {"keep_labels": ["no such label"]}
    async with world.client() as client:
        plan = await make_retention_plan(client, **keep_nothing_by_rule)
        assert "ready copy of its VM" in decision_on(plan, 1711)["reasons"][0]
        assert plan["keep_count"] == 8  # the newest of seven VMs, and one that failed
    set_policy(world, "[retention]\nmay_delete_last_copy = true")
    async with world.client() as client:
        plan = await make_retention_plan(client, **keep_nothing_by_rule)
        assert plan["keep_count"] == 1
        warned = decision_on(plan, 1701)["reasons"]
        assert warned == ["no rule keeps it", "its VM is deleted, so its data exists nowhere else"]
    set_policy(world, "[retention]\nmay_delete_last_copy = true\n[protect]\nkeep_last_copy = true")
    async with world.client() as client:
        assert (await make_retention_plan(client, **keep_nothing_by_rule))["keep_count"] == 8


async def test_snapshots_protected_by_the_policy_are_kept_with_the_rule(world: World) -> None:
    set_policy(world, '[protect]\nlabels = ["nightly"]\nvm_ids = [793705]')
    async with world.client() as client:
        plan = await make_retention_plan(client, **LAST)
    reason = decision_on(plan, 1722)["reasons"][0]
    assert reason.startswith('protected: Snapshot 1722 has the label "nightly"')
    assert reason.endswith("Rule: protect.labels.")
    assert "Rule: protect.vm_ids." in decision_on(plan, 1704)["reasons"][0]


async def test_unfinished_snapshots_are_kept(world: World, modern_client: Client) -> None:
    await call_tool(modern_client, "list_snapshots", limit=1)
    change_cloud(world, "UPDATE snapshots SET outcome = 'CREATING' WHERE id = 1704")
    change_cloud(world, "UPDATE snapshots SET outcome = 'THAWING' WHERE id = 1722")
    plan = await make_retention_plan(modern_client, **LAST)
    assert decision_on(plan, 1704)["reasons"] == ["it is pending"]
    assert decision_on(plan, 1722)["reasons"] == ["its status is unknown"]


async def test_an_image_that_is_deleted_too_is_mentioned(modern_client: Client) -> None:
    plan, text = await call_tool_with_text(modern_client, "plan_retention", **LAST, limit=100)
    reasons = decision_on(plan, 1702)["reasons"][1:]
    assert reasons == [
        'the image "golden-training-2404" (id 20471) made from it is deleted too',
        'VMs that use it: "eval-sweep"',
    ]
    assert "; ".join(reasons) in text


async def test_a_plan_has_the_fifty_oldest_and_leaves_the_rest_for_a_later_one(
    world: World, modern_client: Client
) -> None:
    await add_old_snapshots(world, modern_client, 60)
    plan = await make_retention_plan(modern_client, **LAST)
    assert plan["delete_count"] == 50
    assert plan["confirm_with"] == "delete 50 snapshots"
    assert plan["left_for_later"] == 32
    assert plan["keep_count"] + 50 == plan["total"] == 90
    left = [
        decision
        for decision in plan["decisions"]
        if "left for a later plan: the limit of one plan is 50" in decision["reasons"]
    ]
    assert len(left) == 32
    newest = max(decision["created_at"] for decision in plan["decisions"] if not decision["keep"])
    assert newest <= min(row["created_at"] for row in left)
    assert "32 more would be deleted" in plan["next_step"]


async def test_a_plan_has_no_more_deletions_than_the_hourly_limit_allows(world: World) -> None:
    set_policy(world, "[limits]\ndeletes_per_hour = 3")
    async with world.client() as client:
        plan = await make_retention_plan(client, **LAST)
        assert plan["delete_count"] == 3
        assert plan["confirm_with"] == "delete 3 snapshots"
        commit = {"plan_token": plan["plan_token"], "confirm": "delete 3 snapshots"}
        assert len((await call_tool(client, "apply_retention", **commit))["deleted"]) == 3
        refusal = await call_tool_error(client, "plan_retention", **LAST)
        assert "Rule: limits.deletes_per_hour. Nothing was changed." in refusal
        nothing = await call_tool(client, "plan_retention", keep_last=-1)
        assert nothing["outcome"] == "nothing_to_delete"
    assert (await world.ledger())[-1].event == "refused"


async def test_a_read_only_server_still_plans(world: World) -> None:
    world.settings = world.settings.model_copy(update={"read_only": True})
    async with world.client() as client:
        assert (await call_tool(client, "plan_retention", **LAST))["delete_count"] > 0


async def test_the_text_of_twenty_decisions_is_compact(modern_client: Client) -> None:
    plan, text = await call_tool_with_text(modern_client, "plan_retention", **POLICY)
    assert len(plan["decisions"]) == 20
    assert plan["plan_token"] in text
    assert "next_cursor " in text
    assert count_tokens(text) <= 1_100
