"""Lists with only the documented base fields give the same results as lists with all fields."""

from typing import Any

import httpx
import pytest
from mcp import Client

from tests.conftest import World, call_tool, call_tool_with_text
from tests.tools.helpers import (
    POLICY,
    FakePerson,
    client_with_person,
    deleted_ids,
    make_retention_plan,
    ready_snapshot,
    set_policy,
)
from tests.tools.rewritten_replies import (
    keep_base_fields,
    rewrite_replies,
    set_fields,
    shorten_lists,
)

pytestmark = pytest.mark.one_era

SELECTIONS: list[dict[str, object]] = [
    POLICY,
    {"keep_daily": 3, "group_by": "region"},
    {"keep_last": 2, "group_by": "label"},
    {"keep_within": "3d", "keep_labels": ["nightly"]},
]


def decisions(plan: dict[str, Any]) -> list[tuple[object, ...]]:
    return [(row["id"], row["keep"], row["group"], row["reasons"]) for row in plan["decisions"]]


def single_reads(world: World) -> list[str]:
    paths = [request.url.path for request in world.requests if request.method == "GET"]
    return [path for path in paths if path.rpartition("/")[2].isdigit() and "/snapshots/" in path]


@pytest.mark.parametrize("selection", SELECTIONS)
async def test_a_retention_plan_is_the_same_with_short_lists(
    world: World, client: Client, selection: dict[str, object]
) -> None:
    full = await make_retention_plan(client, **selection)
    assert not single_reads(world)
    shorten_lists(world)
    short = await make_retention_plan(client, **selection)
    assert decisions(short) == decisions(full)
    assert deleted_ids(full)
    assert sorted(single_reads(world)) == sorted(
        f"/v1/core/snapshots/{snapshot_id}" for snapshot_id in deleted_ids(full)
    )


async def test_a_plan_with_short_lists_states_the_image_and_the_deleted_vm(
    world: World, client: Client
) -> None:
    victim = deleted_ids(await make_retention_plan(client, keep_last=1))[0]
    rewrite_replies(
        world,
        listed=keep_base_fields,
        single=set_fields({victim}, vm_status="DELETED", custom_image={"id": 9, "name": "golden"}),
    )
    plan = await make_retention_plan(client, keep_last=1)
    reasons = next(row["reasons"] for row in plan["decisions"] if row["id"] == victim)
    assert 'the image "golden" (id 9) made from it is deleted too' in reasons
    assert "its VM is deleted, so its data exists nowhere else" in reasons


async def test_a_plan_made_from_short_lists_can_be_applied(world: World) -> None:
    person = FakePerson()
    async with client_with_person(world, "2026-07-28", person) as client:
        shorten_lists(world)
        plan = await make_retention_plan(client, **POLICY)
        person.will_type(plan["confirm_with"])
        report = await call_tool(
            client,
            "apply_retention",
            plan_token=plan["plan_token"],
            confirm=plan["confirm_with"],
        )
    assert [row["id"] for row in report["deleted"]] == deleted_ids(plan)
    assert report["skipped"] == []
    assert '""' not in person.questions[0]  # every VM has its name


async def test_a_snapshot_that_differs_from_its_list_entry_is_kept(
    world: World, client: Client
) -> None:
    victim = deleted_ids(await make_retention_plan(client, keep_last=1))[0]
    rewrite_replies(world, listed=keep_base_fields, single=set_fields({victim}, labels=["golden"]))
    plan = await make_retention_plan(client, keep_last=1)
    assert victim not in deleted_ids(plan)
    reasons = {row["id"]: row["reasons"] for row in plan["decisions"]}
    assert reasons[victim] == ["the cloud's list differs from the snapshot itself"]


async def test_a_snapshot_that_cannot_be_read_by_itself_is_kept(
    world: World, client: Client
) -> None:
    gone, broken, *_ = deleted_ids(await make_retention_plan(client, keep_last=1))
    shorten_lists(world)

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith(f"/snapshots/{gone}"):
            return httpx.Response(404, json={"status": False, "message": "not found"})
        if request.url.path.endswith(f"/snapshots/{broken}"):
            return httpx.Response(403, json={"status": False, "message": "forbidden"})
        return None

    world.fail(refuse)
    plan = await make_retention_plan(client, keep_last=1)
    reasons = {row["id"]: row["reasons"] for row in plan["decisions"]}
    assert reasons[gone] == ["it is already gone"]
    assert reasons[broken] == ["facts about it could not be read"]
    assert not {gone, broken} & set(deleted_ids(plan))


@pytest.mark.parametrize(
    "policy",
    [
        '[protect]\nnames = ["web-*"]\n',
        '[protect]\nlabels = ["keep"]\n',
        '[allow]\nregions = ["NORWAY-1"]\n',
    ],
)
async def test_a_policy_protects_the_same_snapshots_with_short_lists(
    world: World, policy: str
) -> None:
    set_policy(world, policy)
    async with world.client() as client:
        full = await make_retention_plan(client, keep_last=1)
        shorten_lists(world)
        short = await make_retention_plan(client, keep_last=1)
    assert decisions(short) == decisions(full)


async def test_labels_that_a_list_omits_are_looked_up_within_a_limit(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snapshot_mcp.operations.lookups.MAX_SINGLE_READS", 5)

    def omit_labels(entry: dict[str, Any]) -> None:
        del entry["labels"]

    rewrite_replies(world, listed=omit_labels)
    plan = await make_retention_plan(client, keep_labels=["no-such-label"])
    unknown = [row for row in plan["decisions"] if "its labels are unknown" in row["reasons"]]
    assert plan["total"] - len(unknown) <= 5
    assert not {row["id"] for row in unknown} & set(deleted_ids(plan))
    assert "is unknown" in plan["next_step"]


async def test_snapshots_without_a_vm_are_never_counted_as_one_group(
    world: World, client: Client
) -> None:
    def omit_vm(entry: dict[str, Any]) -> None:
        for name in ("vm_id", "vm_name", "vm_status"):
            entry.pop(name, None)

    rewrite_replies(world, listed=omit_vm, single=omit_vm)
    plan = await make_retention_plan(client, keep_last=1)
    assert deleted_ids(plan) == []


async def test_inspect_is_complete_without_the_facts_about_the_vm_and_the_region(
    world: World, client: Client
) -> None:
    arguments = {"snapshot_id": (await ready_snapshot(client))["id"]}
    full, full_text = await call_tool_with_text(client, "inspect_snapshot", **arguments)

    def omit(entry: dict[str, Any]) -> None:
        for name in ("vm_name", "vm_status", "region"):
            del entry[name]

    rewrite_replies(world, listed=keep_base_fields, single=omit)
    short, text = await call_tool_with_text(client, "inspect_snapshot", **arguments)
    assert (short, text) == (full, full_text)


async def test_inspect_does_not_state_what_is_unknown(world: World, client: Client) -> None:
    arguments = {"snapshot_id": (await ready_snapshot(client))["id"]}

    def omit(entry: dict[str, Any]) -> None:
        for name in ("vm_id", "vm_name", "vm_status", "labels", "custom_image"):
            del entry[name]

    rewrite_replies(world, single=omit)
    details, text = await call_tool_with_text(client, "inspect_snapshot", **arguments)
    assert "vm_gone" not in details
    assert "labels" not in details["snapshot"]
    assert "labels unknown" in text
    assert "image made from it: unknown" in text
