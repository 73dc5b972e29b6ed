"""review_snapshots through a client of each era: complete, compact, and without changes."""

import json
from typing import Any

import httpx
import pytest
from mcp import Client

from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text, count_tokens

pytestmark = pytest.mark.one_era


async def all_snapshots(client: Client) -> list[dict[str, Any]]:
    """Return all snapshots in full."""
    found = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    return [
        await call_tool(client, "inspect_snapshot", snapshot_id=snapshot["id"])
        for snapshot in found
    ]


async def test_the_review_agrees_with_an_inspection_of_each_snapshot(
    world: World, client: Client
) -> None:
    review = await call_tool(client, "review_snapshots")
    details = await all_snapshots(client)
    vms = await call_tool(client, "list_virtual_machines", limit=100)
    assert review["snapshots"] == len(details)
    assert review["size"] == sum(snapshot["snapshot"]["size"] for snapshot in details)
    assert review["month_cost_estimate"] == pytest.approx(review["size"] * 0.072, abs=0.01)
    gone = sorted(snapshot["snapshot"]["id"] for snapshot in details if snapshot["vm_gone"])
    failed = sorted(
        snapshot["snapshot"]["id"] for snapshot in details if snapshot["state"] == "failed"
    )
    assert [snapshot["id"] for snapshot in review["vm_gone"]["snapshots"]] == gone
    assert [snapshot["id"] for snapshot in review["failed"]["snapshots"]] == failed
    recent = {snapshot["snapshot"]["vm_id"] for snapshot in details if snapshot["age_days"] <= 7}
    never = {row["id"] for row in review["cannot_snapshot"]["virtual_machines"]}
    assert never < {vm["id"] for vm in vms["virtual_machines"] if not vm["can_snapshot"]}
    without = {vm["id"] for vm in vms["virtual_machines"]} - recent - never
    assert {row["id"] for row in review["no_recent"]["virtual_machines"]} == without
    assert review["rehearsals"]["count"] == 0
    (only,) = review["never_followed"]["snapshots"]
    assert only["name"] == "eval-sweep-baseline"
    assert world.writes == []
    assert await world.ledger() == []


async def test_the_review_of_the_seeded_team_costs_at_most_500_tokens_of_text(
    client: Client,
) -> None:
    answer, text = await call_tool_with_text(client, "review_snapshots")
    for finding in ("vm_gone", "failed", "never_followed"):
        for named in answer[finding]["snapshots"]:
            assert f"{named['id']} {named['name']} {named['size']} " in text
    assert "(an estimate)" in text
    assert count_tokens(text) <= 500


async def test_a_finding_lists_the_requested_number_and_counts_the_rest(
    client: Client,
) -> None:
    answer, text = await call_tool_with_text(client, "review_snapshots", limit=1, recent_days=1)
    finding = answer["no_recent"]
    assert len(finding["virtual_machines"]) == 1
    assert finding["more"] == finding["count"] - 1 > 0
    assert f"{finding['more']} more" in text
    assert "of the last 1 days" in text


async def test_a_long_window_finds_fewer_vms_without_a_recent_snapshot(client: Client) -> None:
    short = await call_tool(client, "review_snapshots", recent_days=7)
    long = await call_tool(client, "review_snapshots", recent_days=365)
    assert long["no_recent"]["count"] < short["no_recent"]["count"]
    assert all(vm["ready_snapshots"] == 0 for vm in long["no_recent"]["virtual_machines"])
    assert long["never_followed"]["count"] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"recent_days": 0}, "recent_days must be at least 1."),
        ({"recent_days": 366}, "recent_days must be at most 365."),
        ({"limit": 101}, "limit must be at most 100."),
        ({"vm_id": 5}, 'There is no argument "vm_id".'),
    ],
)
async def test_bad_arguments_are_refused(
    world: World, client: Client, arguments: dict[str, object], complaint: str
) -> None:
    assert complaint in await call_tool_error(client, "review_snapshots", **arguments)
    assert world.requests == []


async def test_unreadable_entries_are_counted_and_not_reported_as_findings(
    world: World, client: Client
) -> None:
    async def spoil(_: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        for vm in body.get("instances", [])[:3]:
            del vm["id"]
        for snapshot in body.get("snapshots", []):
            snapshot["vm_status"] = None
        return httpx.Response(200, json=body)

    world.tamper(spoil)
    answer, text = await call_tool_with_text(client, "review_snapshots")
    assert answer["unreadable"] == 3
    assert "3 entries could not be read" in text
    assert answer["vm_gone"]["count"] == 0


@pytest.mark.parametrize("path", ["/core/virtual-machines", "/core/snapshots"])
async def test_a_partial_list_is_never_returned_as_the_whole(
    world: World, client: Client, path: str
) -> None:
    async def fail(request: httpx.Request) -> httpx.Response | None:
        broken = httpx.Response(500, json={"message": "SECRET"})
        return broken if request.url.path.endswith(path) else None

    world.fail(fail)
    text = await call_tool_error(client, "review_snapshots")
    assert "The cloud failed on the list of" in text
    assert "Nothing was changed." in text
    assert "SECRET" not in text
