"""Schemas of the tools: plain enough for every client."""

from collections.abc import Iterator
from datetime import UTC, datetime
from inspect import signature
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field, TypeAdapter

from snapshot_mcp.mcp_server.tools.schema import PlainSchema
from snapshot_mcp.mcp_server.tools.toolsets import select_tools
from snapshot_mcp.models.cloud import FrozenModel, Snapshot
from snapshot_mcp.models.images import ImageResult, SnapshotEventList
from snapshot_mcp.models.snapshots import (
    CreateResult,
    DeleteResult,
    RestoreResult,
    SnapshotDetails,
    SnapshotList,
    VirtualMachineList,
)
from snapshot_mcp.rules.review import Reviewer

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOOLS = {tool.name: tool for tool in select_tools()}
READING = {tool.name for tool in TOOLS.values() if tool.effect == "reads"}
DESTROYING = {tool.name for tool in TOOLS.values() if tool.effect == "destroys"}
Schema = dict[str, Any]

each_tool = pytest.mark.parametrize("name", TOOLS)


def argument_schema(name: str) -> Schema:
    return TOOLS[name].definition.input_schema


def result_schema(name: str) -> Schema:
    schema = TOOLS[name].definition.output_schema
    assert schema is not None
    return schema


def subschemas(schema: object) -> Iterator[Schema]:
    """Yield every schema inside a schema, but not the names of its properties."""
    if isinstance(schema, list):
        for entry in cast("list[object]", schema):
            yield from subschemas(entry)
    if not isinstance(schema, dict):
        return
    part = cast("Schema", schema)
    yield part
    for key, value in part.items():
        if key in {"properties", "$defs"}:
            for inner in cast("Schema", value).values():
                yield from subschemas(inner)
        elif key not in {"default", "enum", "const", "required"}:
            yield from subschemas(value)


def errors_of(schema: Schema, value: object) -> list[str]:
    validator: Any = Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(value)]


@each_tool
def test_both_schemas_of_a_tool_are_valid(name: str) -> None:
    for schema in (argument_schema(name), result_schema(name)):
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"


@each_tool
@pytest.mark.parametrize("unwanted", ["anyOf", "oneOf", "allOf", "not", "title", "$ref", "$defs"])
def test_the_arguments_of_a_tool_use_plain_types_only(name: str, unwanted: str) -> None:
    assert not [part for part in subschemas(argument_schema(name)) if unwanted in part]


@each_tool
@pytest.mark.parametrize("unwanted", ["anyOf", "oneOf", "title"])
def test_the_result_schema_has_no_alternatives_and_no_titles(name: str, unwanted: str) -> None:
    assert not [part for part in subschemas(result_schema(name)) if unwanted in part]


@each_tool
def test_no_schema_of_a_tool_has_null(name: str) -> None:
    for schema in (argument_schema(name), result_schema(name)):
        for part in subschemas(schema):
            assert part.get("type") != "null"
            assert not isinstance(part.get("type"), list)
            assert part.get("default", "") is not None
            assert None not in part.get("enum", [])


@each_tool
def test_a_tool_accepts_no_unknown_arguments(name: str) -> None:
    objects = [part for part in subschemas(argument_schema(name)) if part.get("type") == "object"]
    assert objects
    assert all(part["additionalProperties"] is False for part in objects)


@each_tool
def test_names_fit_the_strictest_client(name: str) -> None:
    for each in (name, *argument_schema(name)["properties"], *result_schema(name)["properties"]):
        assert 1 <= len(each) <= 64
        assert each.replace("_", "").isalnum()
        assert each.islower()


@each_tool
def test_a_default_is_valid_and_its_argument_is_not_required(name: str) -> None:
    schema = argument_schema(name)
    for argument, part in schema["properties"].items():
        assert "type" in part
        if "default" in part:
            assert argument not in schema.get("required", [])
            assert errors_of(part, part["default"]) == []


@each_tool
def test_every_field_of_a_result_has_a_description(name: str) -> None:
    for part in subschemas(result_schema(name)):
        for field, inner in part.get("properties", {}).items():
            assert inner.get("description"), field


@each_tool
def test_a_tool_has_a_title_a_description_and_all_four_hints(name: str) -> None:
    tool = TOOLS[name].definition
    assert tool.title
    assert tool.description
    assert "\n" not in tool.description
    assert tool.annotations is not None
    assert None not in {
        tool.annotations.read_only_hint,
        tool.annotations.destructive_hint,
        tool.annotations.idempotent_hint,
        tool.annotations.open_world_hint,
    }
    assert tool.annotations.read_only_hint == (name in READING)
    assert tool.annotations.destructive_hint == (name in DESTROYING)


def test_read_only_selects_the_tools_that_read() -> None:
    assert {tool.name for tool in select_tools(read_only=True)} == READING


@each_tool
def test_the_required_arguments_are_those_without_a_default(name: str) -> None:
    function = signature(TOOLS[name].function)
    required = [
        parameter.name
        for parameter in function.parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    assert argument_schema(name).get("required", []) == required


class Inner(FrozenModel):
    """An inner note."""

    number: int | None = Field(default=None, ge=1, description="A number")


class Outer(FrozenModel):
    """An outer note."""

    inner: Inner | None = Field(default=None, description="Inside")
    inners: tuple[Inner, ...] = Field(default=(), description="Many inside")
    none_given: int = Field(default=0, ge=1, description="Zero stands for nothing")
    some_given: int = Field(default=7, ge=1, description="Seven is seven")
    switch: bool = Field(default=False, description="Off is off")
    word: str = Field(default="", description="Empty is empty")


def test_a_field_that_may_be_none_is_optional() -> None:
    schema = Outer.model_json_schema(schema_generator=PlainSchema)
    assert "required" not in schema
    properties = schema["properties"]
    assert schema["$defs"]["Inner"]["properties"]["number"] == {
        "type": "integer",
        "minimum": 1,
        "description": "A number",
    }
    assert "default" not in properties["inner"]
    assert "anyOf" not in str(schema)


def test_a_default_is_shown_unless_it_only_means_not_given() -> None:
    properties = Outer.model_json_schema(schema_generator=PlainSchema)["properties"]
    assert "default" not in properties["none_given"]
    assert properties["some_given"]["default"] == 7
    assert properties["switch"]["default"] is False
    assert properties["word"]["default"] == ""


def test_docstrings_and_class_names_stay_out_of_the_schema() -> None:
    schema = Outer.model_json_schema(schema_generator=PlainSchema)
    assert "note" not in str(schema)
    assert "title" not in str(schema)


def test_a_field_that_can_only_be_null_stays_null() -> None:
    assert TypeAdapter(None).json_schema(schema_generator=PlainSchema) == {"type": "null"}


@pytest.mark.parametrize(
    ("name", "result"),
    [
        (
            "inspect_snapshot",
            SnapshotDetails(snapshot=Snapshot(id=1), state="ready", vm_gone=False),
        ),
        ("list_snapshots", SnapshotList(snapshots=(), total=0, total_size=0, next_cursor="")),
        ("list_virtual_machines", VirtualMachineList(virtual_machines=(), total=0, next_cursor="")),
        ("create_snapshot", CreateResult(outcome="unknown", next_step="")),
        ("restore_snapshot", RestoreResult(outcome="unknown")),
        ("delete_snapshot", DeleteResult(outcome="unknown", snapshot_id=1)),
        (
            "create_image_from_snapshot",
            ImageResult(outcome="unknown", snapshot_id=1, next_step=""),
        ),
        (
            "list_snapshot_events",
            SnapshotEventList(snapshot_id=1, events=(), total=0, next_cursor=""),
        ),
        ("review_snapshots", Reviewer([], NOW, recent_days=7, max_entries=1).review()),
    ],
)
def test_an_empty_result_fits_its_schema(name: str, result: FrozenModel) -> None:
    assert errors_of(result_schema(name), result.model_dump(mode="json", exclude_none=True)) == []
