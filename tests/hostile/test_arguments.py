"""Every tool's arguments, made from its published schema: what it rejects is never acted upon.

What a schema promises is held: it is refused if, and only if, the schema rejects it, but for a few
reasons that no plain schema can tell. `make test-soak` makes 10,000 inputs.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any
from zoneinfo import available_timezones

import jsonschema
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, event, given, settings
from jsonschema import Draft202012Validator, ValidationError
from mcp import Client
from mcp_types import CallToolResult, Tool

from snapshot_mcp.core.sanitize import is_sanitized
from snapshot_mcp.mcp_server.tools.arguments import parse_time
from snapshot_mcp.models.cloud import MAX_ID
from snapshot_mcp.rules.retention_policy import parse_span
from tests.conftest import World, ask, said
from tests.hostile.arguments import Arguments, KnownObjects, valid_arguments, mutated_arguments
from tests.hostile.scene import FOREIGN_TEXT
from tests.hostile.shape import hidden_characters
from tests.scale import scale
from tests.tools.test_definitions import NAMES

pytestmark = pytest.mark.no_cover

INPUTS = scale(quick=400, deep=3_000, soak=10_000)
KINDS = {"as the schema says": valid_arguments, "spoilt": mutated_arguments}
EXAMPLES = -(-INPUTS // (len(NAMES) * len(KINDS)))
MAX_ERROR_LENGTH = 1_200

_ENDING = " Nothing was changed. Correct the arguments and call again."
_COMPLAINT = re.compile(r"(?P<name>\w+)(\[(?P<place>\d+)\])? (?P<reason>.+)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def _is_invalid_time(value: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    try:
        parse_time(value)
    except ValueError:
        return True
    return False


def _is_invalid_span(value: Any) -> bool:  # noqa: ANN401 - as above
    try:
        parse_span(value)
    except ValueError:
        return True
    return False


def _is_invalid_zone(value: Any) -> bool:  # noqa: ANN401 - as above
    return value not in available_timezones()


BEYOND_SCHEMA: Mapping[str, Callable[[Any], bool]] = {
    # Some clients reject a maximum that no float can hold.
    "is larger than any id": lambda value: value > MAX_ID,
    # A schema takes 3.0 for a whole number; nobody means a float by an id.
    "must be a whole number": lambda value: isinstance(value, float),
    "must not hold line breaks, control or invisible characters, or spaces at its ends": (
        lambda value: not is_sanitized(unicodedata.normalize("NFC", value))
    ),
    "must be a date or time such as 2026-05-31 or 2026-05-31T08:00Z": _is_invalid_time,
    "must be whole years, months, days and hours in this order, such as 2y5m7d3h or 30d, each at"
    " most 99999 and not all of them 0": _is_invalid_span,
    "must be the name of a time zone such as UTC or Europe/Berlin": _is_invalid_zone,
}
"""Why an input is refused that its schema accepts, and when that is so."""


class ToolTester:
    """One server, and what its tools promise."""

    def __init__(self, portal: BlockingPortal, world: World, client: Client) -> None:
        self._portal = portal
        self._client = client
        self.world = world
        tools = portal.call(client.list_tools).tools
        self.tools: dict[str, Tool] = {tool.name: tool for tool in tools}
        snapshots = portal.call(self._ask, "list_snapshots")["snapshots"]
        vms = portal.call(self._ask, "list_virtual_machines")["virtual_machines"]
        plan = portal.call(self._ask, "delete_snapshot", snapshots[0]["id"])
        self.known = KnownObjects(
            [it["id"] for it in snapshots], [it["id"] for it in vms], plan["plan_token"]
        )

    async def _ask(self, tool: str, snapshot_id: int = 0) -> dict[str, Any]:
        arguments: Arguments = {"snapshot_id": snapshot_id} if snapshot_id else {"limit": 100}
        return await ask(self._client, tool, **arguments)

    def call(self, tool: str, arguments: Arguments) -> tuple[CallToolResult, list[str]]:
        """What is answered, and what was sent for it."""
        for transport in self.world.transports:
            transport.requests.clear()
        result = self._portal.call(self._client.call_tool, tool, arguments)
        return result, [f"{it.method} {it.url.path}" for it in self.world.requests]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[ToolTester]:
    world = World(tmp_path_factory.mktemp("bench"))
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(world.client()) as client,
    ):
        yield ToolTester(portal, world, client)


def fits(value: object, schema: Mapping[str, Any] | None) -> bool:
    """Whether the schema accepts the value."""
    assert schema is not None
    try:
        jsonschema.validate(value, schema, Draft202012Validator)
    except ValidationError:
        return False
    return True


def check_error(text: str) -> None:
    """It is a sentence of ours that hides nothing and does not go on without end."""
    assert FOREIGN_TEXT.search(_QUOTED.sub("", text)) is None, text
    assert hidden_characters(text) == []
    assert text.endswith("."), text
    assert len(text) < MAX_ERROR_LENGTH


def check_complaints(text: str, arguments: Arguments) -> None:
    """Each thing that is found wrong, though the schema accepts it, is so and is in our list."""
    for complaint in text.removesuffix("." + _ENDING).split(". "):
        found = _COMPLAINT.fullmatch(complaint)
        assert found is not None, text
        value = arguments[found["name"]]
        told = value[int(found["place"])] if found["place"] else value
        assert BEYOND_SCHEMA[found["reason"]](told), text


def decode_lists(arguments: Arguments, tool: Tool) -> Arguments:
    """The arguments with lists that came as JSON text: some clients write every list so."""
    taken = dict(arguments)
    for name, about in tool.input_schema["properties"].items():
        value = arguments.get(name)
        if about.get("type") == "array" and isinstance(value, str):
            with suppress(ValueError, RecursionError):
                parsed = json.loads(value)
                taken[name] = parsed if isinstance(parsed, list) else value
    return taken


def call_and_check(bench: ToolTester, tool: Tool, arguments: Arguments) -> str:
    """Call, and hold what comes back to what the tool published."""
    result, sent = bench.call(tool.name, arguments)
    text = said(result)
    arguments = decode_lists(arguments, tool)
    if not fits(arguments, tool.input_schema):
        assert result.is_error, arguments
        assert text.endswith(_ENDING), text
        assert sent == []
        check_error(text)
        return "refused as the schema says"
    if not result.is_error:
        assert fits(result.structured_content, tool.output_schema), result.structured_content
        return "answered"
    check_error(text)
    if not text.endswith(_ENDING):
        return "refused for what it is about"
    assert sent == []
    check_complaints(text, arguments)
    return "refused for what a schema cannot say"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_an_input_is_refused_if_its_schema_rejects_it_and_for_little_else(
    bench: ToolTester, name: str, kind: str
) -> None:
    tool = bench.tools[name]
    outcomes = Counter[str]()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(KINDS[kind](tool.input_schema, bench.known))
    def check(arguments: Arguments) -> None:
        outcome = call_and_check(bench, tool, arguments)
        event(outcome)
        outcomes[outcome] += 1

    check()
    # Nothing is proved where all inputs were of one sort. No batch is answered without its plan.
    reached = "refused for what it is about" if name == "apply_retention" else "answered"
    assert outcomes["refused as the schema says" if kind == "spoilt" else reached] > 0
    assert bench.world.writes == [] or name in {"create_snapshot", "create_image_from_snapshot"}
