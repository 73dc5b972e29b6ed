"""Completions: suggestions from the live cloud with one request, and never an error."""

import json

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import Completion, PromptReference, ResourceTemplateReference

from snapshot_mcp.core.sanitize import sanitize
from snapshot_mcp.mcp_server import completions
from snapshot_mcp.operations.cache import TTL_SECONDS
from tests.conftest import World, call_tool
from tests.hostile.corpus import TEXTS
from tests.tools.helpers import set_policy
from tests.waiting import ANSWER_TIMEOUT_SECONDS

MACHINE = (PromptReference(name="roll_back_machine"), "machine")
SNAPSHOT = (PromptReference(name="rehearse_restore"), "snapshot")
SNAPSHOT_ID = (ResourceTemplateReference(uri="snapshot://{id}"), "id")
VM_ID = (ResourceTemplateReference(uri="vm://{id}/snapshots"), "id")
ALL = (MACHINE, SNAPSHOT, SNAPSHOT_ID, VM_ID)
Target = tuple[PromptReference | ResourceTemplateReference, str]


async def complete(client: Client, target: Target, typed: str = "") -> Completion:
    reference, argument = target
    return (await client.complete(reference, {"name": argument, "value": typed})).completion


async def test_names_of_machines_and_snapshots_complete(client: Client) -> None:
    vms = (await call_tool(client, "list_virtual_machines", limit=100))["virtual_machines"]
    assert set((await complete(client, MACHINE)).values) == {vm["name"] for vm in vms}
    assert (await complete(client, MACHINE, "TRAINING")).values == ["training-box"]
    snapshots = (await call_tool(client, "list_snapshots", limit=100, search="nightly"))[
        "snapshots"
    ]
    found = await complete(client, SNAPSHOT, "nightly")
    assert set(found.values) == {snapshot["name"] for snapshot in snapshots}
    assert (found.total, found.has_more) == (len(found.values), False)


async def test_names_that_start_with_the_text_come_first(client: Client) -> None:
    values = (await complete(client, MACHINE, "t")).values
    starts = [value.startswith("t") for value in values]
    assert starts == sorted(starts, reverse=True)
    assert set(starts) == {True, False}


async def test_ids_are_completed_by_digits_and_by_name(client: Client) -> None:
    snapshots = (await call_tool(client, "list_snapshots", limit=100))["snapshots"]
    ids = [str(snapshot["id"]) for snapshot in snapshots]
    assert (await complete(client, SNAPSHOT_ID, "171")).values == sorted(
        (number for number in ids if number.startswith("171")), reverse=True
    )
    some = snapshots[3]
    assert str(some["id"]) in (await complete(client, SNAPSHOT_ID, some["name"])).values
    assert (await complete(client, VM_ID, "79370")).total == 8
    (vm_id,) = (await complete(client, VM_ID, "training-box")).values
    assert (await call_tool(client, "list_snapshots", vm_id=int(vm_id)))["total"] > 0


async def test_a_completion_is_one_read(world: World, client: Client) -> None:
    calls = 0
    for target in ALL:
        for typed in ("", "1", "b", "nothing-is-called-so", "\u202e%00'; --"):
            world.manual_clock.advance(seconds=TTL_SECONDS)
            await complete(client, target, typed)
            calls += 1
            assert len(world.requests) == calls
    assert world.writes == []


async def test_further_typing_uses_the_cached_list(world: World, client: Client) -> None:
    first = await complete(client, VM_ID, "7")
    for typed in ("79", "7937", "793701"):
        assert set((await complete(client, VM_ID, typed)).values) <= set(first.values)
    assert len(world.requests) == 1


async def test_an_unknown_argument_has_no_suggestions_and_sends_nothing(
    world: World, client: Client
) -> None:
    for target in (
        (PromptReference(name="roll_back_machine"), "moment"),
        (PromptReference(name="roll_back_machine"), "no_such"),
        (PromptReference(name="no_such"), "machine"),
        (ResourceTemplateReference(uri="snapshot://{id}"), "no_such"),
        (ResourceTemplateReference(uri="snapshot://policy"), "id"),
        (ResourceTemplateReference(uri="file:///{path}"), "path"),
    ):
        assert (await complete(client, target, "b")).values == []
    assert world.requests == []


async def test_a_failing_cloud_gives_no_suggestions_after_one_request(
    world: World, client: Client
) -> None:
    answers = [
        httpx.Response(503),
        httpx.Response(401),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"snapshots": 7, "instances": 7}),
    ]
    for target, answer in zip(ALL, answers, strict=True):

        async def fail(_: httpx.Request, answer: httpx.Response = answer) -> httpx.Response:
            return answer

        world.fail(fail)
        before = len(world.requests)
        found = await complete(client, target, "b")
        assert (found.values, found.has_more) == ([], False)
        assert len(world.requests) == before + 1


async def test_an_unreachable_or_hanging_cloud_gives_no_suggestions(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: httpx.Request) -> httpx.Response | None:
        await anyio.sleep_forever()
        return None

    async def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("SECRET")

    monkeypatch.setattr(completions, "COMPLETION_TIMEOUT_SECONDS", 0.05)
    for fault in (hang, fail):
        world.fail(fault)
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            assert (await complete(client, MACHINE)).values == []
    assert len(world.requests) == 2


async def test_at_most_100_values_are_suggested_and_the_rest_is_counted(
    world: World, client: Client
) -> None:
    rows = [{"id": number, "name": f"web-{number}"} for number in range(1, 131)]
    body: dict[str, object] = {"instances": rows, "snapshots": rows}

    async def multiply(request: httpx.Request, _: httpx.Response) -> httpx.Response:
        return httpx.Response(200, json=body, request=request)

    world.tamper(multiply)
    for count, total in ((130, 130), (5_000, None), (None, None)):
        body["count"] = count
        for target in ALL:
            world.manual_clock.advance(seconds=TTL_SECONDS)
            found = await complete(client, target, "web")
            assert len(found.values) == len(set(found.values)) == 100
            assert (found.total, found.has_more) == (total, True)


async def test_hostile_names_are_suggested_sanitized(world: World, client: Client) -> None:
    names: list[object] = [*TEXTS.values(), "same", "same", "", 7, None]
    rows: list[object] = [
        {"id": number, "name": name} for number, name in enumerate(names, start=1)
    ]
    rows += [{"name": "no id"}, "not even an object"]

    async def rename(request: httpx.Request, _: httpx.Response) -> httpx.Response:
        body = {"instances": rows, "snapshots": rows, "count": len(rows)}
        return httpx.Response(200, content=json.dumps(body), request=request)

    world.tamper(rename)
    for target in (MACHINE, SNAPSHOT):
        values = (await complete(client, target)).values
        assert len(values) > 20
        assert len(values) == len(set(values))
        assert all(sanitize(value, 100).text == value for value in values)


async def test_an_unlisted_prompt_or_template_is_not_completed(world: World) -> None:
    set_policy(world, '[allow]\ntools = ["list_virtual_machines"]')
    async with world.client() as client:
        for target in ALL:
            assert (await complete(client, target)).values == []
    assert world.requests == []


async def test_an_unusable_data_folder_gives_no_suggestions(world: World) -> None:
    file = world.folder / "file"
    file.write_text("mine")
    world.settings = world.settings.model_copy(update={"data_dir": file / "below"})
    async with world.client() as client:
        assert (await complete(client, MACHINE)).values == []
