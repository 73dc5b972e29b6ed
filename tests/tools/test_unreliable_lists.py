"""Lists that move, are short or damaged, and times that mean nothing: no row is lost or deleted."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mcp import Client

from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text
from tests.tools.helpers import (
    add_old_snapshots,
    change_cloud,
    deleted_ids,
    make_retention_plan,
    set_policy,
)
from tests.tools.rewritten_replies import rewrite_replies, set_fields

pytestmark = pytest.mark.one_era

MANY = 250
SENTINELS = [
    *("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1900-01-01", "2000-01-01T00:00:00", "0"),
    *(0, -1, "9999-12-31T23:59:59Z", "2038-01-19T03:14:07Z", "", None),
]


def snapshot_pages(world: World) -> list[int]:
    """Return the numbers of the pages of snapshots that were requested."""
    return [
        int(request.url.params["page"])
        for request in world.requests
        if request.url.path == "/v1/core/snapshots" and request.method == "GET"
    ]


def after_page(world: World, number: int, action: Callable[[], None], *, times: int = 1) -> None:
    """Do something after the first answers with this page of the list of snapshots."""
    left = times

    async def change(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        nonlocal left
        is_page = request.url.path == "/v1/core/snapshots" and request.method == "GET"
        if is_page and request.url.params["page"] == str(number) and left:
            left -= 1
            await response.aread()
            action()
        return response

    world.tamper(change)


def delete_newest(world: World) -> None:
    change_cloud(world, "DELETE FROM snapshots WHERE id = (SELECT max(id) FROM snapshots)")


def delete_each_end(world: World) -> None:
    """Delete a row at the start of the list, and add one at its end: the count stays."""
    delete_newest(world)
    change_cloud(
        world,
        """INSERT INTO snapshots (name, folded, description, labels, vm_id, vm_name, config,
        has_floating_ip, began, gigabytes, outcome)
        SELECT 'moved', 'moved', '', '[]', vm_id, vm_name, config, has_floating_ip, began - 1000,
        gigabytes, outcome FROM snapshots ORDER BY began LIMIT 1""",
    )


async def listed_ids(client: Client) -> list[int]:
    ids, cursor = list[int](), ""
    while cursor or not ids:
        page = await call_tool(client, "list_snapshots", order="oldest", limit=100, cursor=cursor)
        ids += [row["id"] for row in page["snapshots"]]
        cursor = page["next_cursor"]
    return ids


@pytest.mark.parametrize("page", [1, 2])
async def test_a_row_that_moves_between_pages_is_found(
    world: World, client: Client, page: int
) -> None:
    await add_old_snapshots(world, client, MANY)
    before = len(await listed_ids(client))
    after_page(world, page, lambda: delete_newest(world))
    listed = await call_tool(client, "list_snapshots", vm_id=793701, limit=100)
    world.tamper(None)
    again = await call_tool(client, "list_snapshots", vm_id=793701, limit=100)
    if page == 1:
        assert listed == again
    # Pages are read several at a time, so all may have been read before the second change.
    assert again["total"] <= listed["total"] <= again["total"] + 1
    assert len(await listed_ids(client)) == before - 1


@pytest.mark.parametrize("change", [delete_newest, delete_each_end])
@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.sampled(5)
async def test_retention_decides_on_the_whole_list(
    world: World, client: Client, change: Callable[[World], None], page: int
) -> None:
    await add_old_snapshots(world, client, MANY)
    after_page(world, page, lambda: change(world))
    plan = await call_tool(client, "plan_retention", keep_last=1, limit=100)
    world.tamper(None)
    assert plan["total"] == len(await listed_ids(client))


async def test_a_list_that_keeps_changing_is_not_decided_on(world: World, client: Client) -> None:
    await add_old_snapshots(world, client, MANY)
    after_page(world, 1, lambda: delete_newest(world), times=99)
    for tool, arguments in {"plan_retention": {"keep_last": 1}, "review_snapshots": {}}.items():
        error = await call_tool_error(client, tool, **arguments)
        assert "kept changing while it was read" in error
        assert "Nothing was changed." in error
    assert world.writes == []


async def test_a_list_that_is_shorter_than_its_count_is_not_decided_on(
    world: World, client: Client
) -> None:
    async def shorten(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path != "/v1/core/snapshots":
            return response
        body: dict[str, Any] = json.loads(await response.aread())
        return httpx.Response(200, json=body | {"snapshots": body["snapshots"][1:]})

    world.tamper(shorten)
    assert "so the list may be incomplete" in await call_tool_error(
        client, "plan_retention", keep_last=1
    )


async def test_an_unreadable_entry_is_mentioned_and_the_others_are_decided_on(
    world: World, client: Client
) -> None:
    whole = await make_retention_plan(client, keep_last=1)
    lost = deleted_ids(whole)[0]
    rewrite_replies(world, listed=set_fields({lost}, id=None))
    plan, text = await call_tool_with_text(client, "plan_retention", keep_last=1, limit=100)
    assert plan["unreadable"] == 1
    assert "1 entries could not be read" in text
    assert set(deleted_ids(plan)) <= set(deleted_ids(whole)) - {lost}


@pytest.mark.parametrize("time", SENTINELS, ids=repr)
@pytest.mark.sampled(3)
async def test_a_time_that_means_nothing_is_unknown(
    world: World, client: Client, time: object
) -> None:
    plan = await make_retention_plan(client, keep_last=1)
    target = deleted_ids(plan)[0]
    change = set_fields({target}, created_at=time, updated_at=time)
    rewrite_replies(world, listed=change, single=change)
    assert target not in deleted_ids(await make_retention_plan(client, keep_last=1))
    page, text = await call_tool_with_text(client, "list_snapshots", order="oldest", limit=100)
    row = next(row for row in page["snapshots"] if row["id"] == target)
    assert "created_at" not in row
    assert "?" in text
    shown = (await call_tool(client, "inspect_snapshot", snapshot_id=target))["snapshot"]
    assert not {"created_at", "updated_at"} & shown.keys()
    set_policy(world, "[protect]\nminimum_age_hours = 1\n")
    async with world.client() as restricted:
        error = await call_tool_error(restricted, "delete_snapshot", snapshot_id=target)
    assert "Nothing was changed." in error


@pytest.mark.parametrize("vm_id", [0, -1, "0", None, ""])
async def test_snapshots_of_unknown_vms_are_not_those_of_one_vm(
    world: World, client: Client, vm_id: object
) -> None:
    page = await call_tool(client, "list_snapshots", limit=100)
    ids = {row["id"] for row in page["snapshots"]}
    change = set_fields(ids, vm_id=vm_id)
    rewrite_replies(world, listed=change, single=change)
    assert deleted_ids(await make_retention_plan(client, keep_last=1)) == []
    shown = await call_tool(client, "inspect_snapshot", snapshot_id=min(ids))
    assert "vm_id" not in shown["snapshot"]
