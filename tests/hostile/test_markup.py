"""Markup of others in every field: no output shows a link, an image, HTML or other markup.

The output is rendered as a client does it. Programs find the exact values in structured content.
"""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent, TextResourceContents

from snapshot_mcp.core.markup import MARKUP_NOTE
from tests.conftest import ERAS, World, call_tool, call_tool_with_text, result_text
from tests.hostile.planting import PLAN, SURFACES, UNTOUCHED, TextPlanter
from tests.hostile.rendered import (
    MARKUP,
    ORDINARY,
    addresses_in,
    markup_text,
    rendered_markup,
)
from tests.hostile.visible_text import strings_in
from tests.scale import scale
from tests.tools.helpers import (
    FakePerson,
    change_cloud,
    client_with_person,
    make_plan,
    ready_snapshot,
)

LINK = "![x](http://attacker.invalid/leak)"


def problems(output: str) -> list[str]:
    """Return the markup that a client would render in `output`, line by line and as a whole."""
    found = rendered_markup(output).union(*map(rendered_markup, output.split("\n")))
    return [*found, *addresses_in(output)]


def check_flagged(result: CallToolResult) -> None:
    """Check that a result shows no markup, and says once that it contains some."""
    assert problems(result_text(result)) == []
    assert result_text(result).split("\n").count(MARKUP_NOTE) == 1
    assert result_text(result).count("contains markup") == 1
    if not result.is_error:
        assert cast("dict[str, Any]", result.structured_content)["contains_markup"] is True


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("tool", SURFACES)
async def test_no_result_shows_markup(world: World, mode: str, tool: str) -> None:
    planter = TextPlanter(world)
    async with world.client(mode, panel=True) as client:
        ordinary = await client.call_tool(tool, SURFACES[tool])
        assert "contains markup" not in result_text(ordinary)
        assert "contains_markup" not in (ordinary.structured_content or {})
        for part in (list(MARKUP.values()), list(MARKUP.values())[::-1]):
            planter.texts = part
            check_flagged(await client.call_tool(tool, SURFACES[tool]))
        planter.untouched = UNTOUCHED - {"status"}
        check_flagged(await client.call_tool(tool, SURFACES[tool]))


@pytest.mark.slow
@given(st.lists(markup_text(), min_size=3, max_size=12))
@settings(max_examples=scale(quick=20, deep=200))
def test_no_composed_text_is_rendered_in_any_result(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(partial(_show_everywhere, World(Path(folder)), texts))


async def _show_everywhere(world: World, texts: list[str]) -> None:
    planter = TextPlanter(world)
    planter.texts = texts
    async with world.client() as client:
        for tool, arguments in SURFACES.items():
            assert problems(result_text(await client.call_tool(tool, arguments))) == [], tool


async def test_ordinary_names_are_shown_as_they_are(world: World) -> None:
    async with world.client() as client:
        target = await ready_snapshot(client)
        for name in ORDINARY:
            rename(world, target["id"], name)
            _, text = await call_tool_with_text(
                client, "inspect_snapshot", snapshot_id=target["id"]
            )
            assert f'"{name}"' in text
            assert "contains markup" not in text


def rename(world: World, snapshot_id: int, name: str) -> None:
    statement = "UPDATE snapshots SET name = ?1, folded = lower(?1) WHERE id = ?2"
    change_cloud(world, statement, name, snapshot_id)


async def test_structured_content_has_the_exact_value(client: Client, world: World) -> None:
    target = await ready_snapshot(client)
    rename(world, target["id"], LINK)
    content, text = await call_tool_with_text(client, "inspect_snapshot", snapshot_id=target["id"])
    assert content["snapshot"]["name"] == LINK
    assert LINK not in text
    found = await call_tool(client, "list_snapshots", search=LINK)
    assert [snapshot["id"] for snapshot in found["snapshots"]] == [target["id"]]


async def test_a_snapshot_is_found_by_its_name_and_label_as_they_were_shown(
    client: Client, world: World
) -> None:
    target = await ready_snapshot(client)
    rename(world, target["id"], "web01.example.com")
    change_cloud(world, "UPDATE snapshots SET labels = '[\"*gold*\"]' WHERE id = ?", target["id"])
    _, text = await call_tool_with_text(client, "list_snapshots", search="web01.example(.)com")
    assert '"web01.example(.)com"' in text
    assert text.startswith("1 snapshots")
    found = await call_tool(client, "list_snapshots", label="\\*gold\\*")
    assert [snapshot["id"] for snapshot in found["snapshots"]] == [target["id"]]
    plan = await call_tool(
        client, "plan_retention", vm_id=target["vm_id"], keep_labels=["\\*gold\\*"], limit=100
    )
    kept = [decision["id"] for decision in plan["decisions"] if decision["keep"]]
    assert target["id"] in kept


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("tool", ["delete_snapshot", "restore_snapshot"])
async def test_no_question_shows_markup_or_asks_for_it(world: World, mode: str, tool: str) -> None:
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        target = await ready_snapshot(client)
        for text in (LINK, "yes.evil.com"):
            rename(world, target["id"], text)
            change_cloud(world, "UPDATE snapshots SET vm_name = ? WHERE id = ?", text, target["id"])
            commit, plan = await make_plan(client, tool, target)
            assert plan["confirm_with"] == str(target["id"])
            commit |= {"new_vm_name": text} if tool == "restore_snapshot" else {}
            await client.call_tool(tool, commit)
            if tool == "restore_snapshot":
                continue  # the plan was made for another name
            question = person.questions.pop()
            assert problems(question) == []
            assert question.count("contains markup") == 1
            assert question.endswith(f"type exactly: {target['id']}")
    assert world.writes == []


@pytest.mark.parametrize("mode", ERAS)
async def test_the_question_about_a_batch_shows_no_markup(world: World, mode: str) -> None:
    person = FakePerson()
    async with client_with_person(world, mode, person) as client:
        await call_tool(client, "list_snapshots")
        change_cloud(world, "UPDATE snapshots SET name = ?1 || id, vm_name = ?1", LINK)
        plan = await call_tool(client, "plan_retention", keep_last=1)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        assert (await client.call_tool("apply_retention", commit)).is_error
    (question,) = person.questions
    assert problems(question) == []
    assert question.count("contains markup") == 1
    assert world.writes == []


@pytest.mark.parametrize("mode", ERAS)
async def test_no_error_or_plan_shows_the_markup_of_a_caller(world: World, mode: str) -> None:
    async with world.client(mode) as client:
        target = await ready_snapshot(client)
        for text in MARKUP.values():
            errors = [
                await client.call_tool("inspect_snapshot", PLAN | {text: 1}),
                await client.call_tool(text, {}),
            ]
            for error in errors:
                assert error.is_error
                check_flagged(error)
        arguments = {"snapshot_id": target["id"], "new_vm_name": LINK}
        check_flagged(await client.call_tool("restore_snapshot", arguments))
        plain = await client.call_tool("inspect_snapshot", {"snapshot_id": "x"})
        assert "contains markup" not in result_text(plain)


@pytest.mark.parametrize("mode", ERAS)
async def test_no_prompt_shows_the_markup_of_an_argument(world: World, mode: str) -> None:
    async with world.client(mode) as client:
        for text in MARKUP.values():
            result = await client.get_prompt("weekly_snapshot_review", {"machine": text})
            (message,) = result.messages
            assert isinstance(message.content, TextContent)
            first_line = message.content.text.split("\n", maxsplit=1)[0]
            assert problems(first_line) == []
            assert message.content.text.count("contains markup") == 1
        plain = await client.get_prompt("weekly_snapshot_review", {"machine": "db-prod_2026.11"})
        assert "contains markup" not in str(plain)
        assert "db-prod_2026.11" in str(plain)
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(LINK)
        assert problems(str(caught.value)) == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_resource_has_the_exact_values_and_shows_no_markup(world: World, mode: str) -> None:
    async with world.client(mode) as client:
        listed = await call_tool(client, "list_snapshots", limit=10)
        ids = [snapshot["id"] for snapshot in listed["snapshots"]]  # the client caches resources
        texts = (LINK, MARKUP["table"], "---", 'a "quoted" <b> and \\[back](slash)', "evil.com")
        for snapshot_id, text in zip(ids, texts, strict=False):
            rename(world, snapshot_id, text)
            result = await client.read_resource(f"snapshot://{snapshot_id}")
            (contents,) = result.contents
            assert isinstance(contents, TextResourceContents)
            decoded = json.loads(contents.text)
            assert decoded["snapshot"]["name"] == text
            assert decoded["contains_markup"] is True
            assert text not in contents.text
            assert addresses_in(contents.text) == []
            assert not {"link_open", "image", "html_inline"} & rendered_markup(contents.text)
        (contents,) = (await client.read_resource(f"snapshot://{ids[-1]}")).contents
        assert isinstance(contents, TextResourceContents)
        assert "contains_markup" not in contents.text
        assert "\\u" not in contents.text


async def test_no_progress_message_shows_markup(world: World) -> None:
    messages: list[str] = []

    async def record_progress(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        messages.append(message or "")

    async with world.client() as client:
        vms = (await call_tool(client, "list_virtual_machines", limit=100))["virtual_machines"]
        vm_id = next(vm["id"] for vm in vms if vm["can_snapshot"])
        planter = TextPlanter(world)
        planter.texts, planter.untouched = [LINK], {"created_at", "updated_at"}
        order = {"vm_id": vm_id, "name": "safe", "wait_seconds": 5, "allow_interruption": True}
        await client.call_tool("create_snapshot", order, progress_callback=record_progress)
    assert problems("\n".join(messages)) == []


@pytest.mark.parametrize("mode", ERAS)
async def test_the_panel_gets_exact_values_and_shows_disarmed_text(world: World, mode: str) -> None:
    async with world.client(mode, panel=True) as client:
        target = await ready_snapshot(client)
        rename(world, target["id"], LINK)
        result = await client.call_tool("panel_snapshots", {})
        assert LINK in set(strings_in(result.structured_content))
        check_flagged(result)
