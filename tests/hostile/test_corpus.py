"""Hostile texts, in every place where the cloud tells one, on every way to a reader.

Each test reads a part of them, another one each; `make test-deep` reads all of them everywhere.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, Implementation

from snapshot_mcp.core.sanitize import quote_unless_word
from snapshot_mcp.ledger.chain import Row
from snapshot_mcp.ledger.formatting import format_json, format_text
from snapshot_mcp.mcp_server.app import create_server
from tests.conftest import ERAS, World, answered, ask, refused, said, tokens
from tests.hostile.corpus import TEXTS, is_storable
from tests.hostile.shape import hidden_characters, skeleton, json_problems, harmless_twin, requested_words
from tests.scale import scale

pytestmark = pytest.mark.no_cover

TARGET = 1714
PLAN: dict[str, object] = {"snapshot_id": TARGET}
RESTORE: dict[str, object] = PLAN | {"new_vm_name": "back-again"}
SURFACES: dict[str, dict[str, object]] = {
    "list_snapshots": {"limit": 100},
    "inspect_snapshot": PLAN,
    "list_virtual_machines": {"limit": 100},
    "delete_snapshot": PLAN,
    "restore_snapshot": RESTORE,
    "list_snapshot_events": PLAN,
    "review_snapshots": {"limit": 100},
    "create_image_from_snapshot": {"snapshot_id": 1702, "name": "safe"},  # it has an image
    "plan_retention": {"keep_last": 1, "limit": 100},
}
STATUSES = [400, 401, 403, 404, 409, 418, 429, 500, 503]
# What decides what may be done stays as it is, unless the test is about it.
_MAX_LENGTH_IN_LIST = 350
ALL_TEXTS = scale(quick=False, deep=True)
_UNTOUCHED = {"status", "created_at", "updated_at", "time", "born"}


def plant_text(value: object, text: str, kept: set[str]) -> object:
    """A JSON value of the cloud with `text` wherever somebody could have written one."""
    match value:
        case dict():
            return {
                key: entry if key in kept else plant_text(entry, text, kept)
                for key, entry in cast("dict[str, object]", value).items()
            }
        case list():
            return [plant_text(entry, text, kept) for entry in cast("list[object]", value)]
        case str():
            return text
        case _:
            return value


class TextPlanter:
    """Writes one text into every answer of the cloud to a read."""

    def __init__(self, world: World) -> None:
        self.text: str | None = None
        self.kept = _UNTOUCHED
        world.tamper(self.change)

    async def change(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if self.text is None or request.method != "GET":
            return response
        whole = json.loads(await response.aread())
        if isinstance(whole, list):
            return response  # the price list
        # A list of a hundred such texts would be refused as too large, before it is shown.
        text = self.text if "snapshot" in whole else self.text[:_MAX_LENGTH_IN_LIST]
        body = {
            key: value if key == "status" else plant_text(value, text, self.kept)
            for key, value in whole.items()
        }
        return httpx.Response(response.status_code, content=json.dumps(body), request=request)


@pytest.fixture
def vandal(world: World) -> TextPlanter:
    return TextPlanter(world)


class SkeletonChecker:
    """Collects what differs from the shape that a harmless text has."""

    def __init__(self) -> None:
        self.expected: dict[str, str] = {}
        self.trouble: list[str] = []

    def expect(self, text: str, told: str) -> None:
        self.expected[text] = skeleton(told, text)

    def check(self, name: str, text: str, told: str) -> None:
        self.trouble += [f"{name}: {it}" for it in hidden_characters(told)]
        if skeleton(told, text) != self.expected[harmless_twin(text)]:
            self.trouble.append(f"{name}: {told[:400]!r}")


def corpus_part(part: int, parts: int) -> list[tuple[str, str]]:
    """One of so many parts of the corpus; the whole of it if ALL_TEXTS."""
    return list(TEXTS.items())[slice(None) if ALL_TEXTS else slice(part % parts, None, parts)]


def cases(part: int, parts: int = 8) -> Iterator[tuple[str, str]]:
    """Harmless twins first, then a part of the corpus."""
    yield from (("twin", text) for text in sorted({harmless_twin(text) for text in TEXTS.values()}))
    yield from corpus_part(part, parts)


def check_case(shapes: SkeletonChecker, name: str, text: str, told: str) -> None:
    if name == "twin":
        shapes.expect(text, told)
    shapes.check(name, text, told)


def text_and_problems(result: CallToolResult) -> tuple[str, list[str]]:
    content: object = result.structured_content
    return said(result), [] if content is None else json_problems(content)


def test_the_corpus_is_large() -> None:
    assert len(set(TEXTS.values())) == len(TEXTS) >= 80
    assert max(map(len, TEXTS.values())) >= 100_000


@pytest.mark.parametrize("tool", SURFACES)
async def test_an_answer_has_the_same_lines_and_words_whatever_the_cloud_says(
    world: World, vandal: TextPlanter, tool: str
) -> None:
    shapes = SkeletonChecker()
    async with world.client() as client:
        for name, text in cases(list(SURFACES).index(tool)):
            vandal.text = text
            told, trouble = text_and_problems(await client.call_tool(tool, SURFACES[tool]))
            shapes.trouble += [f"{name}: {it}" for it in trouble]
            check_case(shapes, name, text, told)
    assert shapes.trouble == []


@pytest.mark.parametrize("tool", SURFACES)
async def test_a_status_that_nobody_knows_is_quoted_in_answers_and_refusals(
    world: World, vandal: TextPlanter, tool: str
) -> None:
    shapes = SkeletonChecker()
    vandal.kept = _UNTOUCHED - {"status"}
    async with world.client() as client:
        for name, text in cases(1 + list(SURFACES).index(tool)):
            vandal.text = text
            told, trouble = text_and_problems(await client.call_tool(tool, SURFACES[tool]))
            shapes.trouble += [f"{name}: {it}" for it in trouble]
            check_case(shapes, name, text, told)
    assert shapes.trouble == []


async def test_a_status_of_a_vm_is_quoted_where_a_snapshot_of_it_is_refused(
    world: World, vandal: TextPlanter
) -> None:
    shapes = SkeletonChecker()
    vandal.kept = _UNTOUCHED - {"status"}
    async with world.client() as client:
        vm = (await ask(client, "list_virtual_machines"))["virtual_machines"][0]
        for name, text in cases(2):
            vandal.text = text
            check_case(
                shapes,
                name,
                text,
                await refused(client, "create_snapshot", vm_id=vm["id"], name="safe"),
            )
    assert shapes.trouble == []
    assert world.writes == []


@pytest.mark.parametrize(
    ("mode", "tool"), [(ERAS[0], "delete_snapshot"), (ERAS[1], "restore_snapshot")]
)
async def test_a_question_has_the_same_lines_and_words_whatever_the_cloud_says(
    world: World, vandal: TextPlanter, mode: str, tool: str
) -> None:
    questions: list[str] = []

    async def decline(context: object, params: object) -> ElicitResult:
        del context
        assert isinstance(params, ElicitRequestFormParams)
        questions.append(params.message)
        return ElicitResult(action="decline")

    shapes = SkeletonChecker()
    refusals = set[str]()
    async with world.client(mode, elicitation_callback=decline) as client:
        for name, text in cases(ERAS.index(mode)):
            vandal.text = text
            plan = await ask(client, tool, **SURFACES[tool])
            commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
            refusals.add(await refused(client, tool, **SURFACES[tool], **commit))
            question = questions.pop()
            check_case(shapes, name, text, question)
            assert requested_words(question) == plan["confirm_with"], name
    assert shapes.trouble == []
    assert len(refusals) == 1
    assert world.writes == []


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("tool", ["inspect_snapshot", "delete_snapshot"])
async def test_an_error_says_nothing_of_what_the_cloud_wrote_about_it(
    world: World, status: int, tool: str
) -> None:
    async def fail(request: httpx.Request) -> httpx.Response:
        body = {"status": False, "message": text, "error_reason": text}
        headers = {"x-reason": "delete 1702", "retry-after": "soon"}
        return httpx.Response(status, content=json.dumps(body), headers=headers, request=request)

    told = set[str]()
    async with world.client() as client:
        for _, text in corpus_part(STATUSES.index(status), len(STATUSES)):  # noqa: B007 - `fail` writes it
            world.fail(None)
            await ask(client, "inspect_snapshot", **PLAN)  # or it would be taken for an outage
            world.fail(fail)
            told.add(await refused(client, tool, **PLAN))
    assert len(told) == 1
    assert hidden_characters(told.pop()) == []


async def test_a_refused_argument_is_never_told_unquoted(world: World) -> None:
    shapes = SkeletonChecker()
    async with world.client() as client:
        for name, text in cases(4):
            if not is_storable(text):
                continue  # such a text cannot be sent as JSON at all
            result = await client.call_tool("inspect_snapshot", PLAN | {text: text})
            assert result.is_error
            # One plain word is quoted here too.
            check_case(shapes, name, text, said(result))
    assert shapes.trouble == []


async def test_a_message_of_progress_is_one_clean_line(world: World, vandal: TextPlanter) -> None:
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        heard.append(message or "")

    async def change(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        about_it = request.url.path.rpartition("/")[0].endswith("/snapshots")
        return await vandal.change(request, response) if about_it else response

    shapes = SkeletonChecker()
    vandal.kept = _UNTOUCHED - {"status"}
    world.tamper(change)
    async with world.client() as client:
        vms = (await ask(client, "list_virtual_machines", limit=100))["virtual_machines"]
        order = {"vm_id": next(it["id"] for it in vms if it["can_snapshot"]), "wait_seconds": 5}
        for number, (name, text) in enumerate(cases(5)):
            vandal.text = text
            world.turned.turn(hours=1)
            order |= {"name": f"safe-{number}", "allow_interruption": True}
            result = await client.call_tool("create_snapshot", order, progress_callback=hear)
            assert not result.is_error, said(result)
            made = cast("dict[str, Any]", result.structured_content)["snapshot"]
            assert all("\n" not in message for message in heard)
            assert heard[-1] != heard[0]
            told = "\n".join([heard[0], heard[-1], said(result)])
            its_own = told.replace(str(made["id"]), "ID").replace(f"{made['size']} GB", "SIZE")
            check_case(shapes, name, text, its_own)
            heard.clear()
    assert shapes.trouble == []


async def test_the_name_that_a_client_gives_itself_is_shown_clean_in_the_ledger(
    world: World,
) -> None:
    shapes = SkeletonChecker()
    for name, text in cases(6):
        server = create_server(world.settings, clock=world.turned.clock, connect=world.connect)
        info = Implementation(name=text, version="1")
        async with Client(server, client_info=info, mode="2026-07-28") as client:
            await refused(client, "delete_snapshot", **PLAN, confirm="x")
        row = (await world.ledger())[-1]
        told = format_text([row])
        assert "\n" not in told
        told = told.replace(quote_unless_word(row.attempt), "ATTEMPT")
        check_case(shapes, name, text, told)
        assert all(line.isascii() and line.isprintable() for line in format_json([row]).split("\n"))
    assert shapes.trouble == []


def test_a_ledger_that_somebody_wrote_into_is_shown_clean() -> None:
    shapes = SkeletonChecker()
    for name, text in cases(7):
        arguments = json.dumps({"new_vm_name": text}, ensure_ascii=False)
        row = Row(1, text, text, text, text, 1, arguments, text, text, text, text, text, text, text)
        told = format_text([row, row._replace(at="2026-11-20T12:00:00+00:00", arguments=text)])
        shapes.trouble += [f"{name}: {it}" for it in hidden_characters(told)]
        assert len(told.split("\n")) == 2, name
        assert all(json.loads(line)["tool"] == text for line in format_json([row]).split("\n")), (
            name
        )
    assert shapes.trouble == []


async def test_texts_that_the_cloud_really_stores_are_shown_clean(world: World) -> None:
    async with world.client() as client:
        await ask(client, "list_snapshots")
        stored = store_texts(world)
        page, told = await answered(client, "list_snapshots", limit=100)
        assert hidden_characters(told) == json_problems(page) == []
        assert {it["id"] for it in page["snapshots"]} >= stored.keys()
        for snapshot_id, name in stored.items():
            for tool in ("inspect_snapshot", "delete_snapshot"):
                answer, told = await answered(client, tool, snapshot_id=snapshot_id)
                assert hidden_characters(told) == json_problems(answer) == [], name
                assert tokens(told) <= 900, name


def store_texts(world: World) -> dict[int, str]:
    """Puts texts into the names, descriptions and labels of real snapshots; their names by id."""
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


async def test_an_inspection_stays_cheap_whatever_the_description_says(
    world: World, vandal: TextPlanter
) -> None:
    costs: dict[str, int] = {}
    vandal.kept = _UNTOUCHED | {"name", "labels", "vm_name", "vm_status", "region", "type", "gpu"}
    async with world.client() as client:
        for name, text in TEXTS.items():
            vandal.text = text
            costs[name] = tokens((await answered(client, "inspect_snapshot", **PLAN))[1])
    assert max(costs.values()) <= 900, costs
    ordinary = {name: cost for name, cost in costs.items() if len(TEXTS[name]) <= 200}
    assert max(ordinary.values()) <= 400, ordinary
