"""list_snapshots, inspect_snapshot and list_virtual_machines, through a client of each era."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text, count_tokens

pytestmark = pytest.mark.one_era


async def all_snapshots(client: Client, **filters: object) -> list[dict[str, Any]]:
    """Return all pages of a list, three entries at a time."""
    cursor, found = "", list[dict[str, Any]]()
    while True:
        page = await call_tool(client, "list_snapshots", limit=3, cursor=cursor, **filters)
        found += page["snapshots"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


async def test_a_list_shows_twenty_of_all_newest_first_with_totals(client: Client) -> None:
    page = await call_tool(client, "list_snapshots")
    times = [snapshot["created_at"] for snapshot in page["snapshots"]]
    assert len(times) == 20
    assert times == sorted(times, reverse=True)
    assert page["total"] > 20
    everything = await call_tool(client, "list_snapshots", limit=100)
    assert len(everything["snapshots"]) == everything["total"] == page["total"]
    assert everything["next_cursor"] == ""
    assert everything["total_size"] == sum(row.get("size", 0) for row in everything["snapshots"])


async def test_pages_show_every_snapshot_once_in_each_order(client: Client) -> None:
    everything = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    for order in ("newest", "oldest", "largest"):
        walked = await all_snapshots(client, order=order)
        assert sorted(snapshot["id"] for snapshot in walked) == sorted(
            snapshot["id"] for snapshot in everything
        )
        one_page = (await call_tool(client, "list_snapshots", limit=100, order=order))["snapshots"]
        assert [snapshot["id"] for snapshot in walked] == [snapshot["id"] for snapshot in one_page]
    sizes = [snapshot.get("size", 0) for snapshot in one_page]
    assert sizes == sorted(sizes, reverse=True)


async def test_every_filter_selects_exactly_the_matching_snapshots(client: Client) -> None:
    everything = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    some = everything[7]
    day = some["created_at"]
    expected: dict[str, tuple[object, Callable[[dict[str, Any]], bool]]] = {
        "vm_id": (some["vm_id"], lambda snapshot: snapshot["vm_id"] == some["vm_id"]),
        "state": ("failed", lambda snapshot: snapshot["state"] == "failed"),
        "label": ("NIGHTLY", lambda snapshot: "nightly" in snapshot["labels"]),
        "search": ("NIGHTLY", lambda snapshot: "nightly" in snapshot["name"].lower()),
        "created_after": (day, lambda snapshot: snapshot["created_at"] >= day),
        "created_before": (day, lambda snapshot: snapshot["created_at"] < day),
    }
    for name, (value, passes) in expected.items():
        found = await call_tool(client, "list_snapshots", limit=100, **{name: value})
        wanted = [snapshot["id"] for snapshot in everything if passes(snapshot)]
        assert wanted, name
        assert [snapshot["id"] for snapshot in found["snapshots"]] == wanted, name


async def test_a_filter_without_matches_returns_an_empty_list(client: Client) -> None:
    answer, text = await call_tool_with_text(client, "list_snapshots", search="no such thing")
    assert answer == {"snapshots": [], "total": 0, "total_size": 0, "next_cursor": ""}
    assert text == "0 snapshots, 0 GB"


async def test_a_cursor_is_valid_with_its_own_filters_only(client: Client) -> None:
    cursor = (await call_tool(client, "list_snapshots", limit=2))["next_cursor"]
    assert "does not belong to this list" in await call_tool_error(
        client, "list_snapshots", limit=2, cursor=cursor, order="oldest"
    )
    assert "does not belong to this list" in await call_tool_error(
        client, "list_snapshots", cursor="%%%"
    )


async def test_twenty_snapshots_cost_at_most_600_tokens_of_text(client: Client) -> None:
    _, text = await call_tool_with_text(client, "list_snapshots", limit=20)
    assert count_tokens(text) <= 600


async def test_the_text_of_a_list_contains_every_id_name_and_cursor(client: Client) -> None:
    answer, text = await call_tool_with_text(client, "list_snapshots", limit=5)
    for snapshot in answer["snapshots"]:
        assert f"{snapshot['id']} {snapshot['name']} {snapshot['size']} " in text
        assert f" {snapshot['vm_id']} " in text
        assert snapshot["name"].startswith(snapshot["vm_name"]) or (
            f"{snapshot['vm_id']} {snapshot['vm_name']}" in text
        )
    assert f"next_cursor {answer['next_cursor']}" in text


async def test_inspect_shows_the_full_snapshot_and_its_place_among_its_siblings(
    client: Client,
) -> None:
    everything = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    for summary in everything:
        details = await call_tool(client, "inspect_snapshot", snapshot_id=summary["id"])
        snapshot = details["snapshot"]
        assert snapshot["id"] == summary["id"]
        assert details["state"] == summary["state"]
        siblings = [
            row
            for row in everything
            if row.get("vm_id") == summary["vm_id"] and row["state"] == "ready"
        ]
        assert details["last_ready_of_vm"] is (siblings == [summary])
        assert details["vm_gone"] is (snapshot["vm_status"] == "DELETED")
        assert ("derived_image" in details) is ("custom_image" in snapshot)
        assert {"vm_environment", "vm_flavor", "vm_image", "vm_keypair"} <= snapshot.keys()


async def test_the_seeded_team_has_each_kind_of_snapshot(client: Client) -> None:
    everything = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    assert 25 <= len(everything) <= 35
    details = [
        await call_tool(client, "inspect_snapshot", snapshot_id=snapshot["id"])
        for snapshot in everything
    ]
    assert any(snapshot["vm_gone"] for snapshot in details)
    assert any("derived_image" in snapshot for snapshot in details)
    assert any(snapshot["state"] == "failed" for snapshot in details)
    assert len({snapshot["snapshot"]["region"] for snapshot in details}) == 3


async def test_an_inspect_costs_at_most_350_tokens_of_text(client: Client) -> None:
    for summary in (await call_tool(client, "list_snapshots", limit=100))["snapshots"]:
        _, text = await call_tool_with_text(client, "inspect_snapshot", snapshot_id=summary["id"])
        assert count_tokens(text) <= 350


async def test_a_missing_snapshot_is_reported(client: Client) -> None:
    text = await call_tool_error(client, "inspect_snapshot", snapshot_id=999_999)
    assert text == "The cloud has no snapshot 999999. Nothing was changed."


async def test_vms_are_listed_with_whether_they_can_be_snapshotted(client: Client) -> None:
    page = await call_tool(client, "list_virtual_machines", limit=100)
    assert page["total"] == len(page["virtual_machines"]) == 8
    assert page["next_cursor"] == ""
    for vm in page["virtual_machines"]:
        assert vm["can_snapshot"] is ("why_not" not in vm)
        assert {"id", "name", "status", "flavor", "region"} <= vm.keys()
    assert {vm["can_snapshot"] for vm in page["virtual_machines"]} == {True, False}


async def test_vms_are_paged_and_searched(client: Client) -> None:
    first = await call_tool(client, "list_virtual_machines", limit=5)
    second = await call_tool(client, "list_virtual_machines", limit=5, cursor=first["next_cursor"])
    ids = [vm["id"] for page in (first, second) for vm in page["virtual_machines"]]
    assert len(set(ids)) == len(ids) == first["total"] == second["total"]
    found = await call_tool(client, "list_virtual_machines", search="TRAINING-BOX")
    assert [vm["name"] for vm in found["virtual_machines"]] == ["training-box"]


async def test_entries_without_an_id_are_counted_as_unreadable_and_not_shown(
    world: World, client: Client
) -> None:
    async def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        body["snapshots"][0] = {"name": "no id"}
        body["snapshots"][1] = "not even an object"
        return httpx.Response(200, json=body, request=request)

    total = (await call_tool(client, "list_snapshots"))["total"]
    world.tamper(spoil)
    answer, text = await call_tool_with_text(client, "list_snapshots", limit=100)
    assert answer["unreadable"] == 2
    assert answer["total"] == total - 2
    assert "2 entries could not be read" in text


async def test_hidden_characters_in_a_name_are_removed_and_flagged(
    world: World, client: Client
) -> None:
    async def rename(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        if "snapshot" in body:
            body["snapshot"]["name"] = 'safe\u202ename\n2000 "other" ready\U000e0041'
        return httpx.Response(200, json=body, request=request)

    first = (await call_tool(client, "list_snapshots", limit=1))["snapshots"][0]
    world.tamper(rename)
    answer, text = await call_tool_with_text(client, "inspect_snapshot", snapshot_id=first["id"])
    assert answer["snapshot"]["name"] == 'safename 2000 "other" ready'
    assert answer["snapshot"]["altered"] == ["name"]
    assert '"safename 2000 \\"other\\" ready"' in text
    assert "removed from: name" in text


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx.Response(200, text="<html>Sign in</html>"), "is not JSON"),
        (httpx.Response(200, json=[]), "is not a JSON object"),
        (httpx.Response(200, json={"status": True}), 'has no list of "snapshots"'),
        (httpx.Response(200, json={"status": False, "message": "SECRET"}), "reports a failure"),
        (httpx.Response(401, json={"message": "SECRET"}), "rejected the API key"),
        (httpx.Response(403, json={"message": "SECRET"}), "lacks the permission"),
        (httpx.Response(400, json={"message": "SECRET"}), "the reason is unknown"),
        (
            httpx.Response(429, json={"message": "SECRET"}),
            "limit of requests per minute is reached",
        ),
        (httpx.Response(500, json={"message": "SECRET"}), "failed on the list of snapshots"),
        (httpx.Response(502, text="SECRET"), "(status 502)"),
        (httpx.Response(302, headers={"location": "http://SECRET/"}), "is a redirect"),
    ],
)
async def test_a_broken_answer_is_an_error(
    world: World, client: Client, answer: httpx.Response, sentence: str
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        return answer

    world.fail(fail)
    text = await call_tool_error(client, "list_snapshots")
    assert sentence in text
    assert "SECRET" not in text


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (httpx.ConnectError("SECRET"), "could not be reached"),
        (httpx.ReadTimeout("SECRET"), "did not answer in time"),
        (httpx.RemoteProtocolError("SECRET"), "the connection broke"),
    ],
)
async def test_a_cloud_that_cannot_be_reached_is_an_error_and_changes_nothing(
    world: World, client: Client, error: httpx.HTTPError, sentence: str
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        raise error

    world.fail(fail)
    text = await call_tool_error(client, "list_snapshots")
    assert sentence in text
    assert "Nothing was changed." in text
    assert "SECRET" not in text


async def test_a_cloud_that_hangs_is_abandoned_after_the_timeout(world: World) -> None:

    async def hang(_: httpx.Request) -> httpx.Response | None:
        await anyio.sleep_forever()
        return None

    world.settings = world.settings.model_copy(update={"timeout": 0.05})
    world.fail(hang)
    async with world.client() as client:
        assert "did not answer in time" in await call_tool_error(client, "list_snapshots")


async def test_an_answer_about_another_snapshot_is_rejected(world: World, client: Client) -> None:
    first, second = (await call_tool(client, "list_snapshots", limit=2))["snapshots"]

    async def swap(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = json.loads(await response.aread())
        if "snapshot" in body:
            body["snapshot"]["id"] = second["id"]
        return httpx.Response(200, json=body, request=request)

    world.tamper(swap)
    text = await call_tool_error(client, "inspect_snapshot", snapshot_id=first["id"])
    assert "answer is not about id" in text
