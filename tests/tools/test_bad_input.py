"""Bad arguments cause an error that says what is wrong, and nothing is sent."""

import pytest
from mcp import Client, MCPError

from tests.conftest import World, call_tool, call_tool_error, result_text

pytestmark = pytest.mark.one_era

VALID = {"vm_id": 1, "name": "x"}


@pytest.mark.parametrize("tool", ["inspect_snapshot", "delete_snapshot"])
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0, "snapshot_id must be at least 1."),
        (-1, "snapshot_id must be at least 1."),
        (1.7, "snapshot_id must be a whole number."),
        (0.0, "snapshot_id must be at least 1."),
        (1e300, "snapshot_id is larger than any id."),
        (True, "snapshot_id must be a whole number."),
        ("abc", "snapshot_id must be a whole number."),
        ("3", "snapshot_id must be a whole number."),
        (None, "snapshot_id must be a whole number."),
        ([1], "snapshot_id must be a whole number."),
        (2**63, "snapshot_id is larger than any id."),
        (10**30, "snapshot_id is larger than any id."),
    ],
)
async def test_an_id_is_a_positive_whole_number(
    world: World, client: Client, tool: str, value: object, sentence: str
) -> None:
    text = await call_tool_error(client, tool, snapshot_id=value)
    assert text == f"{sentence} Nothing was changed. Correct the arguments and call again."
    assert world.requests == []


async def test_a_number_without_a_fraction_is_a_whole_number(client: Client) -> None:
    vm = (await call_tool(client, "list_virtual_machines"))["virtual_machines"][0]
    texts = {"name": "x", "new_vm_name": "x", "plan_token": "x", "confirm": "x"}
    for tool in (await client.list_tools()).tools:
        properties: dict[str, dict[str, object]] = tool.input_schema["properties"]
        arguments: dict[str, object] = {
            name: float(vm["id"] if name == "vm_id" else 3)
            for name, schema in properties.items()
            if schema["type"] == "integer"
        }
        if not arguments:
            continue
        arguments |= {
            name: texts[name] for name in tool.input_schema.get("required", []) if name in texts
        }
        result = await client.call_tool(tool.name, arguments)
        assert "whole number" not in result_text(result), tool.name
        assert "Correct the arguments" not in result_text(result), tool.name
    (first,) = (await call_tool(client, "list_snapshots", limit=1.0))["snapshots"]
    shown = await call_tool(client, "inspect_snapshot", snapshot_id=float(first["id"]))
    assert shown["snapshot"]["id"] == first["id"]


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("inspect_snapshot", {}, "snapshot_id is missing."),
        ("create_snapshot", {"vm_id": 1}, "name is missing."),
        ("create_snapshot", {"name": "x"}, "vm_id is missing."),
        ("restore_snapshot", {"snapshot_id": 1}, "new_vm_name is missing."),
        ("list_snapshots", {"vm": 3}, 'There is no argument "vm".'),
        ("delete_snapshot", {"snapshot_id": 1, "force": True}, 'There is no argument "force"'),
        ("list_snapshots", {"limit": 101}, "limit must be at most 100."),
        ("list_snapshots", {"limit": 0}, "limit must be at least 1."),
        ("list_virtual_machines", {"limit": 101}, "limit must be at most 100."),
        ("list_snapshots", {"state": "done"}, "state must be one of 'any', 'ready', 'pending'"),
        ("list_snapshots", {"order": "best"}, "order must be one of 'newest', 'oldest'"),
        ("list_snapshots", {"search": 7}, "search must be text."),
        ("list_snapshots", {"vm_id": 0}, "vm_id must be at least 1."),
        ("list_snapshots", {"created_after": "yesterday"}, "created_after must be a date or time"),
        ("list_snapshots", {"created_before": "2026-13-01"}, "created_before must be a date or"),
        ("create_snapshot", VALID | {"name": ""}, "name must not be empty."),
        ("create_snapshot", VALID | {"name": "n" * 51}, "name must have at most 50 characters."),
        ("create_snapshot", VALID | {"name": "a\nb"}, "name must not contain line breaks"),
        ("create_snapshot", VALID | {"name": "a\u202eb"}, "name must not contain line breaks"),
        ("create_snapshot", VALID | {"name": " a"}, "name must not contain line breaks"),
        ("create_snapshot", VALID | {"labels": "x"}, "labels must be a list."),
        ("create_snapshot", VALID | {"labels": [1]}, "labels[0] must be text."),
        ("create_snapshot", VALID | {"labels": ["x"] * 21}, "labels must have at most 20 entries."),
        (
            "create_snapshot",
            VALID | {"description": "d" * 301},
            "description must have at most 300",
        ),
        ("create_snapshot", VALID | {"allow_interruption": "yes"}, "must be true or false."),
        ("create_snapshot", VALID | {"allow_interruption": 1}, "must be true or false."),
        ("create_snapshot", VALID | {"wait_seconds": 301}, "wait_seconds must be at most 300."),
        ("create_snapshot", VALID | {"wait_seconds": -1}, "wait_seconds must be at least 0."),
        ("create_snapshot", VALID | {"wait_seconds": 1.5}, "wait_seconds must be a whole number."),
        (
            "restore_snapshot",
            {"snapshot_id": 1, "new_vm_name": "v" * 51},
            "new_vm_name must have at most 50 characters.",
        ),
        (
            "restore_snapshot",
            {"snapshot_id": 1, "new_vm_name": "v", "contract_id": -4},
            "contract_id must be at least 1.",
        ),
        ("delete_snapshot", {"snapshot_id": 1, "confirm": 5}, "confirm must be text."),
        ("delete_snapshot", {"snapshot_id": 1, "plan_token": "t" * 1001}, "at most 1000"),
    ],
)
async def test_a_bad_argument_is_named_and_nothing_is_sent(
    world: World, client: Client, tool: str, arguments: dict[str, object], sentence: str
) -> None:
    text = await call_tool_error(client, tool, **arguments)
    assert sentence in text
    assert text.endswith("Nothing was changed. Correct the arguments and call again.")
    assert world.requests == []


async def test_a_rejected_value_is_not_repeated_in_the_error(client: Client) -> None:
    text = await call_tool_error(client, "inspect_snapshot", snapshot_id="delete everything now")
    assert "delete" not in text


async def test_the_name_of_an_unknown_argument_is_sanitized_and_truncated(client: Client) -> None:
    text = await call_tool_error(client, "list_snapshots", **{"a\nb\u202e" + "x" * 500: 1})
    assert "\n" not in text
    assert "\u202e" not in text
    assert len(text) < 300


async def test_the_number_of_reported_argument_errors_is_limited(client: Client) -> None:
    text = await call_tool_error(
        client, "list_snapshots", **{f"a{number}": 1 for number in range(100)}
    )
    assert text.count("There is no argument") == 5


@pytest.mark.parametrize("tool", ["list_snapshots", "create_snapshot"])
async def test_thousands_of_unknown_arguments_are_rejected_early(
    world: World, client: Client, tool: str
) -> None:
    unknown = {f"argument_{number}_{'x' * 50}": number for number in range(60_000)}
    text = await call_tool_error(client, tool, **VALID, **unknown)
    assert text.startswith("The call has 60,002 arguments, and the limit is 100. Nothing was ")
    assert len(text) < 400
    assert world.requests == []


async def test_a_list_with_thousands_of_invalid_entries_is_one_short_error(
    world: World, client: Client
) -> None:
    wrong: list[list[object]] = [[1] * 60_000, ["\n"] * 60_000, [[]] * 60_000]
    for labels in wrong:
        text = await call_tool_error(client, "create_snapshot", **VALID, labels=labels)
        assert len(text) < 500
    assert world.requests == []


async def test_a_long_name_of_a_tool_or_resource_is_not_repeated(client: Client) -> None:
    long_name = "x" * 60_000
    assert len(await call_tool_error(client, long_name)) < 200
    with pytest.raises(MCPError) as raised:
        await client.read_resource(f"snapshot://{long_name}")
    assert len(str(raised.value.error)) < 400


async def test_a_tool_that_does_not_exist_is_an_error(client: Client) -> None:
    text = await call_tool_error(client, "delete_everything")
    assert "delete_everything" in text
