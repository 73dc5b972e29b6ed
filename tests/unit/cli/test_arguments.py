"""Conversion of `key=value` words to the types of a tool's schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cli.arguments import parse_arguments
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS

SCHEMA: dict[str, Any] = {
    "properties": {
        "count": {"type": "integer"},
        "price": {"type": "number"},
        "really": {"type": "boolean"},
        "labels": {"type": "array"},
        "name": {"type": "string"},
    },
    "required": [],
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("count=-12", -12),
        ("price=0.5", 0.5),
        ("really=Yes", True),
        ("really=false", False),
        ("labels=a, b", ["a", "b"]),
        ("labels=", []),
        ("name=a=b c", "a=b c"),
        ("name=12", "12"),
        ("name=", ""),
    ],
)
def test_a_value_has_the_type_of_the_schema(pair: str, value: object) -> None:
    assert parse_arguments(SCHEMA, [pair]) == {pair.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("count=1.5", "whole number"),
        ("count=", "whole number"),
        ("count=" + "9" * 30, "whole number"),
        ("price=dear", "number"),
        ("really=perhaps", "true or false"),
        ("nonsense=1", "It takes: count, price, really, labels, name"),
        ("name", "key=value"),
        ("=", "key=value"),
    ],
)
def test_a_word_that_does_not_fit_the_schema_is_an_error(pair: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_arguments(SCHEMA, [pair])


def test_a_repeated_or_missing_argument_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        parse_arguments(SCHEMA, ["name=a", "name=b"])
    with pytest.raises(ConfigurationError, match="needs name, count"):
        parse_arguments(SCHEMA | {"required": ["name", "count"]}, ["price=1"])


@given(
    st.lists(st.text(max_size=20) | st.sampled_from(["count=1", "count=x", "name=a"]), max_size=4)
)
def test_any_words_give_valid_arguments_or_an_error(pairs: list[str]) -> None:
    try:
        values = parse_arguments(SCHEMA, pairs)
    except ConfigurationError:
        return
    assert values.keys() <= SCHEMA["properties"].keys()
    assert len(values) == len(pairs)


def test_every_argument_of_every_tool_can_be_given() -> None:
    for tool in TOOLS:
        for name, schema in tool.definition.input_schema["properties"].items():
            text = {"integer": "1", "boolean": "true"}.get(schema["type"], "a")
            values = parse_arguments({"properties": {name: schema}}, [f"{name}={text}"])
            python_type = {"integer": int, "boolean": bool, "array": list, "string": str}[
                schema["type"]
            ]
            assert type(values[name]) is python_type
