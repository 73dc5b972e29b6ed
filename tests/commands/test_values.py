"""`key=value` becomes what the tool's schema asks for, or one sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cli.arguments import read_values
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
def test_a_value_is_what_the_schema_says(pair: str, value: object) -> None:
    assert read_values(SCHEMA, [pair]) == {pair.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("pair", "why"),
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
def test_what_does_not_fit_is_told(pair: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read_values(SCHEMA, [pair])


def test_what_is_given_twice_or_not_at_all_is_told() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        read_values(SCHEMA, ["name=a", "name=b"])
    with pytest.raises(ConfigurationError, match="needs name, count"):
        read_values(SCHEMA | {"required": ["name", "count"]}, ["price=1"])


@given(
    st.lists(st.text(max_size=20) | st.sampled_from(["count=1", "count=x", "name=a"]), max_size=4)
)
def test_any_words_give_arguments_of_the_schema_or_a_sentence(pairs: list[str]) -> None:
    try:
        values = read_values(SCHEMA, pairs)
    except ConfigurationError:
        return
    assert values.keys() <= SCHEMA["properties"].keys()
    assert len(values) == len(pairs)


def test_every_argument_of_every_tool_can_be_given() -> None:
    for tool in TOOLS:
        for name, schema in tool.definition.input_schema["properties"].items():
            text = {"integer": "1", "boolean": "true"}.get(schema["type"], "a")
            read = read_values({"properties": {name: schema}}, [f"{name}={text}"])
            kind = {"integer": int, "boolean": bool, "array": list, "string": str}[schema["type"]]
            assert type(read[name]) is kind
