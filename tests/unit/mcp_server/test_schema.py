"""The schemas of the tools: what every client accepts and nothing that some strip."""

from collections.abc import Iterator
from datetime import UTC, datetime
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
READING = {
    "list_snapshots",
    "inspect_snapshot",
    "list_virtual_machines",
    "plan_retention",
    "list_snapshot_events",
    "review_snapshots",
}
DESTROYING = {"delete_snapshot", "apply_retention"}
ADDING = {"create_snapshot", "restore_snapshot", "create_image_from_snapshot"}
Schema = dict[str, Any]

each_tool = pytest.mark.parametrize("name", TOOLS)


def arguments_of(name: str) -> Schema:
    return TOOLS[name].definition.input_schema


def answer_of(name: str) -> Schema:
    schema = TOOLS[name].definition.output_schema
    assert schema is not None
    return schema


def parts_of(schema: object) -> Iterator[Schema]:
    """Every schema inside a schema, but not the names of its properties."""
    if isinstance(schema, list):
        for entry in cast("list[object]", schema):
            yield from parts_of(entry)
    if not isinstance(schema, dict):
        return
    part = cast("Schema", schema)
    yield part
    for key, value in part.items():
        if key in {"properties", "$defs"}:
            for inner in cast("Schema", value).values():
                yield from parts_of(inner)
        elif key not in {"default", "enum", "const", "required"}:
            yield from parts_of(value)


def errors_of(schema: Schema, value: object) -> list[str]:
    validator: Any = Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(value)]


@each_tool
def test_both_schemas_of_a_tool_are_valid_ones(name: str) -> None:
    for schema in (arguments_of(name), answer_of(name)):
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"


@each_tool
@pytest.mark.parametrize("unwanted", ["anyOf", "oneOf", "allOf", "not", "title", "$ref", "$defs"])
def test_the_arguments_of_a_tool_use_plain_types_only(name: str, unwanted: str) -> None:
    assert not [part for part in parts_of(arguments_of(name)) if unwanted in part]


@each_tool
@pytest.mark.parametrize("unwanted", ["anyOf", "oneOf", "title"])
def test_the_answer_of_a_tool_uses_no_alternatives_and_no_titles(name: str, unwanted: str) -> None:
    assert not [part for part in parts_of(answer_of(name)) if unwanted in part]


@each_tool
def test_no_schema_of_a_tool_knows_null(name: str) -> None:
    for schema in (arguments_of(name), answer_of(name)):
        for part in parts_of(schema):
            assert part.get("type") != "null"
            assert not isinstance(part.get("type"), list)
            assert part.get("default", "") is not None
            assert None not in part.get("enum", [])


@each_tool
def test_a_tool_takes_no_other_arguments_than_its_own(name: str) -> None:
    objects = [part for part in parts_of(arguments_of(name)) if part.get("type") == "object"]
    assert objects
    assert all(part["additionalProperties"] is False for part in objects)


@each_tool
def test_names_fit_the_smallest_limit_of_any_client(name: str) -> None:
    for each in (name, *arguments_of(name)["properties"], *answer_of(name)["properties"]):
        assert 1 <= len(each) <= 64
        assert each.replace("_", "").isalnum()
        assert each.islower()


@each_tool
def test_an_argument_is_required_or_has_a_default_that_fits_or_may_be_left_out(name: str) -> None:
    schema = arguments_of(name)
    for argument, part in schema["properties"].items():
        assert "type" in part
        if "default" in part:
            assert argument not in schema.get("required", [])
            assert errors_of(part, part["default"]) == []


@each_tool
def test_every_field_of_an_answer_says_what_it_is(name: str) -> None:
    for part in parts_of(answer_of(name)):
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


def test_reading_only_leaves_the_reading_tools_alone() -> None:
    assert {tool.name for tool in select_tools(read_only=True)} == READING
    assert set(TOOLS) == READING | DESTROYING | ADDING


def test_the_arguments_that_must_be_given_are_those_without_a_default() -> None:
    required = {name: sorted(arguments_of(name).get("required", [])) for name in TOOLS}
    assert required == {
        "list_snapshots": [],
        "inspect_snapshot": ["snapshot_id"],
        "list_virtual_machines": [],
        "create_snapshot": ["name", "vm_id"],
        "restore_snapshot": ["new_vm_name", "snapshot_id"],
        "delete_snapshot": ["snapshot_id"],
        "create_image_from_snapshot": ["name", "snapshot_id"],
        "list_snapshot_events": ["snapshot_id"],
        "review_snapshots": [],
        "plan_retention": [],
        "apply_retention": ["confirm", "plan_token"],
    }


class Inner(FrozenModel):
    """A note for programmers."""

    number: int | None = Field(default=None, ge=1, description="A number")


class Outer(FrozenModel):
    """Another note."""

    inner: Inner | None = Field(default=None, description="Inside")
    inners: tuple[Inner, ...] = Field(default=(), description="Many inside")
    none_given: int = Field(default=0, ge=1, description="Zero stands for nothing")
    some_given: int = Field(default=7, ge=1, description="Seven is seven")
    switch: bool = Field(default=False, description="Off is off")
    word: str = Field(default="", description="Empty is empty")


def test_what_may_be_none_is_what_may_be_left_out() -> None:
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


def test_a_default_is_shown_unless_it_only_stands_for_nothing() -> None:
    properties = Outer.model_json_schema(schema_generator=PlainSchema)["properties"]
    assert "default" not in properties["none_given"]
    assert properties["some_given"]["default"] == 7
    assert properties["switch"]["default"] is False
    assert properties["word"]["default"] == ""


def test_notes_for_programmers_stay_out_of_the_schema() -> None:
    schema = Outer.model_json_schema(schema_generator=PlainSchema)
    assert "note" not in str(schema)
    assert "title" not in str(schema)


def test_a_real_null_is_still_told_where_a_value_can_be_nothing_else() -> None:
    assert TypeAdapter(None).json_schema(schema_generator=PlainSchema) == {"type": "null"}


@pytest.mark.parametrize(
    ("name", "answer"),
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
def test_the_emptiest_answer_fits_its_schema(name: str, answer: FrozenModel) -> None:
    assert errors_of(answer_of(name), answer.model_dump(mode="json", exclude_none=True)) == []
