"""Hostile texts in every field of the cloud, and in every output that a reader sees.

Each test uses another part of the corpus; `make test-deep` uses all of it everywhere.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, Implementation

from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.ledger.formatting import format_json, format_text
from snapshot_mcp.mcp_server.app import create_server
from tests.conftest import (
    ERAS,
    World,
    call_tool,
    call_tool_error,
    call_tool_with_text,
    count_tokens,
    result_text,
)
from tests.hostile.corpus import TEXTS, is_storable
from tests.hostile.planting import PLAN, SURFACES, UNTOUCHED, TextPlanter
from tests.hostile.visible_text import (
    harmless_twin,
    hidden_characters,
    json_problems,
    requested_words,
    skeleton,
)
from tests.scale import scale

pytestmark = pytest.mark.no_cover

STATUSES = [400, 401, 403, 404, 409, 418, 429, 500, 503]
ALL_TEXTS = scale(quick=False, deep=True)


@pytest.fixture
def planter(world: World) -> TextPlanter:
    return TextPlanter(world)


class SkeletonChecker:
    """Collects differences from the output for a harmless text."""

    def __init__(self) -> None:
        self.expected: dict[str, str] = {}
        self.problems: list[str] = []

    def expect(self, text: str, output: str) -> None:
        self.expected[text] = skeleton(output, text)

    def check(self, name: str, text: str, output: str) -> None:
        self.problems += [f"{name}: {character}" for character in hidden_characters(output)]
        if skeleton(output, text) != self.expected[harmless_twin(text)]:
            self.problems.append(f"{name}: {output[:400]!r}")


def corpus_part(part: int, parts: int) -> list[tuple[str, str]]:
    """Return one part of the corpus; all of it if ALL_TEXTS."""
    return list(TEXTS.items())[slice(None) if ALL_TEXTS else slice(part % parts, None, parts)]


def cases(part: int, parts: int = 16) -> Iterator[tuple[str, str]]:
    """Yield the harmless twins, then a part of the corpus."""
    yield from (("twin", text) for text in sorted({harmless_twin(text) for text in TEXTS.values()}))
    yield from corpus_part(part, parts)


def check_case(checker: SkeletonChecker, name: str, text: str, output: str) -> None:
    if name == "twin":
        checker.expect(text, output)
    checker.check(name, text, output)


def text_and_problems(result: CallToolResult) -> tuple[str, list[str]]:
    content: object = result.structured_content
    return result_text(result), [] if content is None else json_problems(content)


def test_the_corpus_is_large() -> None:
    assert len(set(TEXTS.values())) == len(TEXTS) >= 80
    assert max(map(len, TEXTS.values())) >= 100_000


@pytest.mark.parametrize("tool", SURFACES)
@pytest.mark.sampled(2)
async def test_a_hostile_text_does_not_change_the_lines_and_words_of_a_result(
    world: World, planter: TextPlanter, tool: str
) -> None:
    checker = SkeletonChecker()
    async with world.client() as client:
        for name, text in cases(list(SURFACES).index(tool)):
            planter.text = text
            output, problems = text_and_problems(await client.call_tool(tool, SURFACES[tool]))
            checker.problems += [f"{name}: {problem}" for problem in problems]
            check_case(checker, name, text, output)
    assert checker.problems == []


@pytest.mark.parametrize("tool", SURFACES)
@pytest.mark.sampled(3)
async def test_an_unknown_status_is_quoted_in_results_and_errors(
    world: World, planter: TextPlanter, tool: str
) -> None:
    checker = SkeletonChecker()
    planter.untouched = UNTOUCHED - {"status"}
    async with world.client() as client:
        for name, text in cases(1 + list(SURFACES).index(tool)):
            planter.text = text
            output, problems = text_and_problems(await client.call_tool(tool, SURFACES[tool]))
            checker.problems += [f"{name}: {problem}" for problem in problems]
            check_case(checker, name, text, output)
    assert checker.problems == []


async def test_the_status_of_a_vm_is_quoted_when_its_snapshot_is_refused(
    world: World, planter: TextPlanter
) -> None:
    checker = SkeletonChecker()
    planter.untouched = UNTOUCHED - {"status"}
    async with world.client() as client:
        vm = (await call_tool(client, "list_virtual_machines"))["virtual_machines"][0]
        for name, text in cases(2):
            planter.text = text
            check_case(
                checker,
                name,
                text,
                await call_tool_error(client, "create_snapshot", vm_id=vm["id"], name="safe"),
            )
    assert checker.problems == []
    assert world.writes == []


@pytest.mark.parametrize(
    ("mode", "tool"), [(ERAS[0], "delete_snapshot"), (ERAS[1], "restore_snapshot")]
)
async def test_a_hostile_text_does_not_change_the_lines_and_words_of_a_question(
    world: World, planter: TextPlanter, mode: str, tool: str
) -> None:
    questions: list[str] = []

    async def decline(context: object, params: object) -> ElicitResult:
        del context
        assert isinstance(params, ElicitRequestFormParams)
        questions.append(params.message)
        return ElicitResult(action="decline")

    checker = SkeletonChecker()
    refusals = set[str]()
    async with world.client(mode, elicitation_callback=decline) as client:
        for name, text in cases(ERAS.index(mode)):
            planter.text = text
            plan = await call_tool(client, tool, **SURFACES[tool])
            commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            refusals.add(await call_tool_error(client, tool, **SURFACES[tool], **commit))
            question = questions.pop()
            check_case(checker, name, text, question)
            assert requested_words(question) == plan["confirm_with"], name
    assert checker.problems == []
    assert len(refusals) == 1
    assert world.writes == []


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("tool", ["inspect_snapshot", "delete_snapshot"])
@pytest.mark.sampled(4)
async def test_an_error_does_not_repeat_the_message_of_the_cloud(
    world: World, status: int, tool: str
) -> None:
    async def fail(request: httpx.Request) -> httpx.Response:
        body = {"status": False, "message": text, "error_reason": text}
        headers = {"x-reason": "delete 1702", "retry-after": "soon"}
        return httpx.Response(status, content=json.dumps(body), headers=headers, request=request)

    messages = set[str]()
    async with world.client() as client:
        for _, text in corpus_part(STATUSES.index(status), len(STATUSES)):  # noqa: B007 - `fail` writes it
            world.fail(None)
            # A success in between, so that the circuit breaker does not open.
            await call_tool(client, "inspect_snapshot", **PLAN)
            world.fail(fail)
            messages.add(await call_tool_error(client, tool, **PLAN))
    assert len(messages) == 1
    assert hidden_characters(messages.pop()) == []


async def test_a_rejected_argument_name_is_quoted(world: World) -> None:
    checker = SkeletonChecker()
    async with world.client() as client:
        for name, text in cases(4):
            if not is_storable(text):
                continue  # such a text cannot be sent as JSON
            result = await client.call_tool("inspect_snapshot", PLAN | {text: text})
            assert result.is_error
            check_case(checker, name, text, result_text(result))
    assert checker.problems == []


async def test_a_progress_message_is_one_clean_line(world: World, planter: TextPlanter) -> None:
    messages: list[str] = []

    async def record_progress(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        messages.append(message or "")

    async def change(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        is_snapshot = request.url.path.rpartition("/")[0].endswith("/snapshots")
        return await planter.change(request, response) if is_snapshot else response

    checker = SkeletonChecker()
    planter.untouched = UNTOUCHED - {"status"}
    world.tamper(change)
    async with world.client() as client:
        vms = (await call_tool(client, "list_virtual_machines", limit=100))["virtual_machines"]
        order = {"vm_id": next(vm["id"] for vm in vms if vm["can_snapshot"]), "wait_seconds": 5}
        for number, (name, text) in enumerate(cases(5)):
            planter.text = text
            world.manual_clock.advance(hours=1)
            order |= {"name": f"safe-{number}", "allow_interruption": True}
            result = await client.call_tool(
                "create_snapshot", order, progress_callback=record_progress
            )
            assert not result.is_error, result_text(result)
            made = cast("dict[str, Any]", result.structured_content)["snapshot"]
            assert all("\n" not in message for message in messages)
            assert messages[-1] != messages[0]
            output = "\n".join([messages[0], messages[-1], result_text(result)])
            own_text = output.replace(str(made["id"]), "ID").replace(f"{made['size']} GB", "SIZE")
            check_case(checker, name, text, own_text)
            messages.clear()
    assert checker.problems == []


async def test_the_ledger_shows_the_name_of_a_client_sanitized(
    world: World,
) -> None:
    checker = SkeletonChecker()
    for name, text in cases(6):
        server = create_server(
            world.settings, clock=world.manual_clock.clock, connect=world.connect
        )
        info = Implementation(name=text, version="1")
        async with Client(server, client_info=info, mode="2026-07-28") as client:
            await call_tool_error(client, "delete_snapshot", **PLAN, confirm="x")
        row = (await world.ledger())[-1]
        output = format_text([row])
        assert "\n" not in output
        output = re.sub(f'"?{re.escape(row.attempt)}"?', "ATTEMPT", output)
        check_case(checker, name, text, output)
        assert all(line.isascii() and line.isprintable() for line in format_json([row]).split("\n"))
    assert checker.problems == []


def test_a_tampered_ledger_is_shown_sanitized() -> None:
    checker = SkeletonChecker()
    for name, text in cases(7):
        arguments = json.dumps({"new_vm_name": text}, ensure_ascii=False)
        row = Row(1, text, text, text, text, 1, arguments, text, text, text, text, text, text, text)
        output = format_text([row, row._replace(at="2026-11-20T12:00:00+00:00", arguments=text)])
        checker.problems += [f"{name}: {character}" for character in hidden_characters(output)]
        assert len(output.split("\n")) == 2, name
        assert all(json.loads(line)["tool"] == text for line in format_json([row]).split("\n")), (
            name
        )
    assert checker.problems == []


async def test_stored_texts_are_shown_sanitized(world: World) -> None:
    async with world.client() as client:
        await call_tool(client, "list_snapshots")
        stored = store_texts(world)
        page, output = await call_tool_with_text(client, "list_snapshots", limit=100)
        assert hidden_characters(output) == json_problems(page) == []
        assert {snapshot["id"] for snapshot in page["snapshots"]} >= stored.keys()
        for snapshot_id, name in stored.items():
            for tool in ("inspect_snapshot", "delete_snapshot"):
                answer, output = await call_tool_with_text(client, tool, snapshot_id=snapshot_id)
                assert hidden_characters(output) == json_problems(answer) == [], name
                assert count_tokens(output) <= 900, name


def store_texts(world: World) -> dict[int, str]:
    """Write texts into every text field of snapshots; return the names of the texts by id."""
    texts = [(name, text) for name, text in TEXTS.items() if is_storable(text)]
    with closing(sqlite3.connect(world.cloud_file)) as connection, connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM snapshots ORDER BY id")]
        stored = dict(zip(ids, texts, strict=False))
        connection.executemany(
            "UPDATE snapshots SET name = ?1, folded = lower(?1), description = ?1, labels = ?2,"
            " vm_name = ?1 WHERE id = ?3",
            [(text, json.dumps([text]), number) for number, (_, text) in stored.items()],
        )
    return {number: name for number, (name, _) in stored.items()}


async def test_a_hostile_description_does_not_make_an_inspection_expensive(
    world: World, planter: TextPlanter
) -> None:
    costs: dict[str, int] = {}
    planter.untouched = UNTOUCHED | {
        "name",
        "labels",
        "vm_name",
        "vm_status",
        "region",
        "type",
        "gpu",
    }
    async with world.client() as client:
        for name, text in TEXTS.items():
            planter.text = text
            costs[name] = count_tokens(
                (await call_tool_with_text(client, "inspect_snapshot", **PLAN))[1]
            )
    assert max(costs.values()) <= 900, costs
    ordinary = {name: cost for name, cost in costs.items() if len(TEXTS[name]) <= 200}
    assert max(ordinary.values()) <= 400, ordinary
