"""Generated arguments of every tool: an input that the schema rejects is never acted upon.

An input is rejected if, and only if, its published schema rejects it, except for a few reasons that
a plain schema cannot express. `make test-soak` generates 10,000 inputs.
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

from snapshot_mcp.core.markup import MARKUP_NOTE
from snapshot_mcp.core.sanitize import is_sanitized
from snapshot_mcp.mcp_server.context import EMBEDDED_NOTE
from snapshot_mcp.mcp_server.tools.arguments import parse_time
from snapshot_mcp.models.cloud import MAX_ID
from snapshot_mcp.rules.retention_policy import parse_span
from tests.conftest import World, call_tool, result_text
from tests.hostile.argument_strategies import (
    Arguments,
    KnownObjects,
    mutated_arguments,
    valid_arguments,
)
from tests.hostile.harness import FOREIGN_TEXT
from tests.hostile.visible_text import hidden_characters
from tests.scale import scale
from tests.tools.tool_names import NAMES

pytestmark = pytest.mark.no_cover

INPUTS = scale(quick=200, deep=3_000, soak=10_000)
KINDS = {"valid": valid_arguments, "mutated": mutated_arguments}
EXAMPLES = -(-INPUTS // (len(NAMES) * len(KINDS)))
MAX_ERROR_LENGTH = 1_200

_ENDING = " Nothing was changed. Correct the arguments and call again."
_COMPLAINT = re.compile(r"(?P<name>\w+)(\[(?P<place>\d+)\])? (?P<reason>.+)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def _is_invalid_time(value: Any) -> bool:  # noqa: ANN401 - any JSON value
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
    "must not contain line breaks, control or invisible characters, or spaces at its ends": (
        lambda value: not is_sanitized(unicodedata.normalize("NFC", value))
    ),
    "must be a date or time such as 2026-05-31 or 2026-05-31T08:00Z": _is_invalid_time,
    "must be whole years, months, days and hours in this order, such as 2y5m7d3h or 30d, each at"
    " most 99999 and not all of them 0": _is_invalid_span,
    "must be the name of a time zone such as UTC or Europe/Berlin": _is_invalid_zone,
}
"""Reasons to reject an input that its schema accepts, and when each applies."""


class ToolTester:
    """One server, and the definitions of its tools."""

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
            [snapshot["id"] for snapshot in snapshots], [vm["id"] for vm in vms], plan["plan_token"]
        )
        self.rehearsal_vm_id: int = portal.call(self._rehearse, snapshots[0]["id"])

    async def _ask(self, tool: str, snapshot_id: int = 0) -> dict[str, Any]:
        arguments: Arguments = {"snapshot_id": snapshot_id} if snapshot_id else {"limit": 100}
        return await call_tool(self._client, tool, **arguments)

    async def _rehearse(self, snapshot_id: int) -> int:
        target = {"snapshot_id": snapshot_id, "new_vm_name": "test-it", "rehearsal": True}
        plan = await call_tool(self._client, "restore_snapshot", **target)
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        result = await call_tool(self._client, "restore_snapshot", **target, **commit)
        return result["virtual_machine"]["id"]

    def known_to(self, tool: str) -> KnownObjects:
        """Return the objects of the cloud for which a tool can be used."""
        if tool == "delete_rehearsal_vm":
            return self.known._replace(vms=[self.rehearsal_vm_id])
        return self.known

    def call(self, tool: str, arguments: Arguments) -> tuple[CallToolResult, list[str]]:
        """Return the result, and the requests that were sent."""
        for transport in self.world.transports:
            transport.requests.clear()
        result = self._portal.call(self._client.call_tool, tool, arguments)
        return result, [f"{request.method} {request.url.path}" for request in self.world.requests]


@pytest.fixture(scope="module")
def tester(tmp_path_factory: pytest.TempPathFactory) -> Generator[ToolTester]:
    world = World(tmp_path_factory.mktemp("tester"))
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(world.client()) as client,
    ):
        yield ToolTester(portal, world, client)


def fits(value: object, schema: Mapping[str, Any] | None) -> bool:
    """Return whether the schema accepts the value."""
    assert schema is not None
    try:
        jsonschema.validate(value, schema, Draft202012Validator)
    except ValidationError:
        return False
    return True


def check_error(text: str) -> None:
    """Check that the error is the server's own, hides nothing and is not too long."""
    assert FOREIGN_TEXT.search(_QUOTED.sub("", text)) is None, text
    assert hidden_characters(text) == []
    assert text.endswith("."), text
    assert len(text) < MAX_ERROR_LENGTH


def check_complaints(text: str, arguments: Arguments) -> None:
    """Check that each complaint about a valid input is true and in `BEYOND_SCHEMA`."""
    for complaint in text.removesuffix("." + _ENDING).split(". "):
        found = _COMPLAINT.fullmatch(complaint)
        assert found is not None, text
        value = arguments[found["name"]]
        wrong_value = value[int(found["place"])] if found["place"] else value
        assert BEYOND_SCHEMA[found["reason"]](wrong_value), text


def decode_lists(arguments: Arguments, tool: Tool) -> Arguments:
    """Return the arguments with lists decoded from JSON text, as some clients send them."""
    decoded = dict(arguments)
    for name, about in tool.input_schema["properties"].items():
        value = arguments.get(name)
        if about.get("type") == "array" and isinstance(value, str):
            with suppress(ValueError, RecursionError):
                parsed = json.loads(value)
                decoded[name] = parsed if isinstance(parsed, list) else value
    return decoded


def call_and_check(tester: ToolTester, tool: Tool, arguments: Arguments) -> str:
    """Call the tool and compare the result with its definition; return a label for the outcome."""
    result, sent = tester.call(tool.name, arguments)
    text = result_text(result).removesuffix("\n" + EMBEDDED_NOTE).removesuffix("\n" + MARKUP_NOTE)
    arguments = decode_lists(arguments, tool)
    if not fits(arguments, tool.input_schema):
        assert result.is_error, arguments
        assert text.endswith(_ENDING), text
        assert sent == []
        check_error(text)
        return "rejected by the schema"
    if not result.is_error:
        assert fits(result.structured_content, tool.output_schema), result.structured_content
        return "answered"
    check_error(text)
    if not text.endswith(_ENDING):
        return "refused for another reason"
    assert sent == []
    check_complaints(text, arguments)
    return "rejected beyond the schema"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_an_input_is_rejected_as_its_schema_says(tester: ToolTester, name: str, kind: str) -> None:
    tool = tester.tools[name]
    outcomes = Counter[str]()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(KINDS[kind](tool.input_schema, tester.known_to(name)))
    def check(arguments: Arguments) -> None:
        outcome = call_and_check(tester, tool, arguments)
        event(outcome)
        outcomes[outcome] += 1

    check()
    # Both kinds of outcome must occur. apply_retention never succeeds without a plan.
    reached = "refused for another reason" if name == "apply_retention" else "answered"
    assert outcomes["rejected by the schema" if kind == "mutated" else reached] > 0
    assert tester.world.writes == [] or name in {"create_snapshot", "create_image_from_snapshot"}
