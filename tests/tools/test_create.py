"""create_snapshot through a client of each era."""

import json

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult

from tests.conftest import World, call_tool, call_tool_error, call_tool_with_text, result_text
from tests.tools.helpers import creation_arguments, find_vm

pytestmark = pytest.mark.one_era


async def test_a_snapshot_is_created_and_waited_for(world: World, client: Client) -> None:
    arguments = await creation_arguments(client)
    result = await call_tool(
        client, "create_snapshot", **arguments, description="why", labels=["keep"], wait_seconds=60
    )
    assert result["outcome"] == "created"
    assert result["snapshot"]["state"] == "ready"
    details = await call_tool(client, "inspect_snapshot", snapshot_id=result["snapshot"]["id"])
    assert details["snapshot"]["description"] == "why"
    assert details["snapshot"]["labels"] == ["keep"]
    assert details["snapshot"]["vm_id"] == arguments["vm_id"]
    assert [row.event for row in await world.attempts()] == ["sent", "done"]


async def test_waiting_reports_progress_that_only_grows(client: Client) -> None:
    updates: list[tuple[float, float | None, str | None]] = []

    async def record_progress(progress: float, total: float | None, message: str | None) -> None:
        updates.append((progress, total, message))

    arguments = await creation_arguments(client)
    await client.call_tool(
        "create_snapshot", arguments | {"wait_seconds": 40}, progress_callback=record_progress
    )
    steps = [progress for progress, _, _ in updates]
    assert len(steps) > 2
    assert steps == sorted(set(steps))
    assert {total for _, total, _ in updates} == {40}
    assert updates[0][2] is not None
    assert "CREATING" in updates[0][2]


async def test_without_waiting_the_outcome_is_pending_and_names_the_next_call(
    client: Client,
) -> None:
    result = await call_tool(
        client, "create_snapshot", **await creation_arguments(client), wait_seconds=0
    )
    assert result["outcome"] == "pending"
    assert result["snapshot"]["state"] == "pending"
    assert f"inspect_snapshot with {result['snapshot']['id']}" in result["next_step"]
    assert "do not create it again" in result["next_step"]


async def test_the_wait_ends_at_its_limit(world: World, client: Client) -> None:
    arguments = await creation_arguments(client)
    start = world.manual_clock.time
    result = await call_tool(client, "create_snapshot", **arguments, wait_seconds=2)
    assert result["outcome"] == "pending"
    assert (world.manual_clock.time - start).total_seconds() == pytest.approx(2)


async def test_a_running_vm_is_not_interrupted_without_permission(
    world: World, client: Client
) -> None:
    arguments = await creation_arguments(client) | {"allow_interruption": False}
    text = await call_tool_error(client, "create_snapshot", **arguments)
    assert "shuts it off for the snapshot and starts it again" in text
    assert "Nothing was changed." in text
    assert world.writes == []


async def test_a_vm_that_is_off_needs_no_permission_to_interrupt(client: Client) -> None:
    vm = await find_vm(client, status="SHUTOFF")
    result = await call_tool(
        client, "create_snapshot", vm_id=vm["id"], name="cold", wait_seconds=60
    )
    assert result["outcome"] == "created"


async def test_a_vm_that_cannot_be_snapshotted_is_refused_before_anything_is_sent(
    world: World, client: Client
) -> None:
    for vm in (await call_tool(client, "list_virtual_machines", limit=100))["virtual_machines"]:
        if not vm["can_snapshot"]:
            text = await call_tool_error(
                client, "create_snapshot", vm_id=vm["id"], name="x", allow_interruption=True
            )
            assert f"VM {vm['id']} cannot be snapshotted now: {vm['why_not']}." in text
    assert world.writes == []


async def test_a_second_snapshot_of_the_same_vm_is_refused_while_one_is_under_way(
    world: World, client: Client
) -> None:
    arguments = await creation_arguments(client)
    await call_tool(client, "create_snapshot", **arguments, wait_seconds=0)
    text = await call_tool_error(client, "create_snapshot", **(arguments | {"name": "another"}))
    assert "another snapshot of it is in progress" in text
    assert len(world.writes) == 1


async def test_of_two_concurrent_calls_for_one_vm_one_is_refused_before_it_is_sent(
    world: World, client: Client
) -> None:
    # Waiting would move the clock on until the first snapshot is complete.
    arguments = await creation_arguments(client) | {"wait_seconds": 0}
    results = list[CallToolResult]()

    async def call(name: str) -> None:
        results.append(await client.call_tool("create_snapshot", arguments | {"name": name}))

    async with anyio.create_task_group() as group:
        group.start_soon(call, "one")
        group.start_soon(call, "other")
    assert sorted(result.is_error for result in results) == [False, True]
    assert any("cannot be snapshotted now" in result_text(result) for result in results)
    assert len(world.writes) == 1


async def test_a_name_that_is_taken_is_refused(world: World, client: Client) -> None:
    taken = (await call_tool(client, "list_snapshots", limit=1))["snapshots"][0]["name"]
    text = await call_tool_error(
        client, "create_snapshot", **await creation_arguments(client, taken)
    )
    assert f'A snapshot named "{taken}" exists already: snapshot ' in text
    assert world.writes == []


async def test_a_missing_vm_is_reported(world: World, client: Client) -> None:
    text = await call_tool_error(client, "create_snapshot", vm_id=4, name="x")
    assert text == "The cloud has no VM 4. Nothing was changed."
    assert world.writes == []


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadTimeout("no answer"),
        httpx.ReadError("reset"),
        httpx.Response(500, json={"message": "Internal Server Error"}),
        httpx.Response(502, text="<html>"),
        httpx.Response(201, text="<html>"),
        httpx.Response(201, json={"status": True}),
    ],
)
async def test_a_lost_or_unusable_answer_is_reconciled(
    world: World, client: Client, failure: httpx.Response | httpx.HTTPError
) -> None:
    async def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method != "POST":
            return response
        if isinstance(failure, httpx.HTTPError):
            raise failure
        return failure

    arguments = await creation_arguments(client)
    world.tamper(lose)
    result = await call_tool(client, "create_snapshot", **arguments)
    assert result["outcome"] == "created"
    made = await call_tool(client, "inspect_snapshot", snapshot_id=result["snapshot"]["id"])
    assert made["snapshot"]["name"] == arguments["name"]
    assert len(world.writes) == 1
    events = [(row.event, row.reason) for row in await world.attempts()]
    assert events == [("sent", ""), ("done", "settled: the cloud shows it")]


@pytest.mark.parametrize(
    ("failure", "outcome", "event"),
    [
        (httpx.ReadTimeout("no answer"), "unknown", "unknown"),
        (httpx.Response(502, text="<html>"), "unknown", "unknown"),
        (httpx.Response(504), "unknown", "unknown"),
        (httpx.Response(408), "unknown", "unknown"),
        (httpx.Response(201, text="<html>"), "unknown", "unknown"),
        (httpx.ReadError("reset"), "unknown", "unknown"),
        (httpx.RemoteProtocolError("closed"), "unknown", "unknown"),
        (httpx.Response(500), "failed", "failed"),
        (httpx.Response(503), "unknown", "unknown"),
        (httpx.Response(503, json={"status": False, "message": ""}), "failed", "failed"),
    ],
)
async def test_a_write_without_effect_has_failed_only_if_it_cannot_complete_later(
    world: World,
    client: Client,
    failure: httpx.Response | httpx.HTTPError,
    outcome: str,
    event: str,
) -> None:
    async def vanish(request: httpx.Request) -> httpx.Response | None:
        if request.method != "POST":
            return None
        if isinstance(failure, httpx.HTTPError):
            raise failure
        return failure

    arguments = await creation_arguments(client)
    world.fail(vanish)
    result = await call_tool(client, "create_snapshot", **arguments)
    assert result["outcome"] == outcome
    assert "snapshot" not in result
    if outcome == "unknown":
        assert 'list_snapshots with search "before-upgrade-x"' in result["next_step"]
        assert "do not repeat it" in result["next_step"]
    else:
        assert "it was not done" in result["next_step"]
    assert len(world.writes) == 1
    assert [row.event for row in await world.attempts()] == ["sent", event]
    assert (await call_tool(client, "list_snapshots", search=arguments["name"]))["total"] == 0


async def test_a_refusal_by_the_cloud_is_an_error_and_recorded_as_failed(
    world: World, client: Client
) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response | None:
        body = {"status": False, "message": "SECRET is currently being used to create a snapshot"}
        return httpx.Response(400, json=body) if request.method == "POST" else None

    arguments = await creation_arguments(client)
    world.fail(refuse)
    text = await call_tool_error(client, "create_snapshot", **arguments)
    assert "the VM is busy with a snapshot. Nothing was changed." in text
    assert "SECRET" not in text
    assert [row.event for row in await world.attempts()] == ["sent", "failed"]


async def test_an_error_while_waiting_does_not_hide_the_accepted_request(
    world: World, client: Client
) -> None:
    async def break_reads(request: httpx.Request) -> httpx.Response | None:
        write_sent = any(write.startswith("POST") for write in world.writes)
        return httpx.Response(503) if write_sent and request.method == "GET" else None

    arguments = await creation_arguments(client)
    world.fail(break_reads)
    result = await call_tool(client, "create_snapshot", **arguments, wait_seconds=20)
    assert result["outcome"] == "pending"
    assert (
        "The cloud accepted it, but the cloud could not be read at the moment."
        in result["next_step"]
    )


async def test_a_snapshot_that_fails_is_reported_as_failed(world: World, client: Client) -> None:
    async def fail(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.startswith("/v1/core/snapshots/") or "name-" in request.url.path:
            return response
        body = json.loads(await response.aread())
        body["snapshot"]["status"] = "ERROR"
        return httpx.Response(200, json=body)

    arguments = await creation_arguments(client)
    world.tamper(fail)
    answer, text = await call_tool_with_text(client, "create_snapshot", **arguments)
    assert answer["outcome"] == "failed"
    assert "it cannot be restored" in text


async def test_nothing_is_sent_when_the_ledger_cannot_be_written(
    world: World, client: Client
) -> None:
    arguments = await creation_arguments(client)
    for file in world.folder.glob("ledger.db*"):
        file.unlink()
    (world.folder / "ledger.db").mkdir()
    text = await call_tool_error(client, "create_snapshot", **arguments)
    assert "The ledger cannot be used" in text
    assert "Nothing was changed" in text
    assert world.writes == []
