"""Hypothesis strategies for the arguments of a tool, from its published schema."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

from hypothesis import strategies as st
from hypothesis_jsonschema import (
    from_schema,  # pyright: ignore[reportUnknownVariableType] - its types are partial
)

Arguments = dict[str, Any]
Schema = dict[str, Any]

_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
# Stored as pairs, because Hypothesis would print the long texts when it describes the strategy.
_LONG_TEXTS = st.sampled_from(
    [("x", 100_000), ("\u202e", 2_000), ("e\u0301", 500), ("\U0001f4be", 301)]
)
_NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**30, -(2**63)]),
    st.just(400).map(lambda digits: 10**digits),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-1_000, 1_000).map(float),
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    _NUMBERS,
    _TEXT,
    st.sampled_from(["", " ", "\0", "a\n"]),
    _LONG_TEXTS.map(lambda pair: pair[0] * pair[1]),
)
_JUNK = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(_TEXT, inner, max_size=5),
    max_leaves=40,
)
_UNKNOWN_NAMES = st.one_of(
    _TEXT,
    st.sampled_from(["", "ctx", "self", "force", "confirm ", "Snapshot_id", "$ref"]),
    st.just(5_000).map(lambda length: "x" * length),
)

# Conversions that careless clients make: "3" for 3, 1 for true, a list for its only entry.
_CONVERSIONS: list[Callable[[Any], object]] = [
    str,
    json.dumps,
    bool,
    lambda value: [value],
    lambda value: float(value) if isinstance(value, int) and abs(value) < 2**53 else {"": value},
    lambda value: int(value) if isinstance(value, bool) else None,
]


class KnownObjects(NamedTuple):
    """Objects that exist, so that not every call ends with "not found"."""

    snapshots: list[int]
    vms: list[int]
    plan_token: str


@st.composite
def valid_arguments(draw: st.DrawFn, schema: Schema, known: KnownObjects) -> Arguments:
    """Draw arguments that the schema accepts, mostly about objects that exist."""
    arguments = draw(_object_of(schema))
    hints = {name: hint for name, hint in _hints(known).items() if name in schema["properties"]}
    names = sorted(hints)
    some = st.sets(st.sampled_from(names)) if names else st.just(set[str]())
    for name in names if draw(st.booleans()) else draw(some):
        arguments[name] = draw(hints[name])
    return arguments


def _object_of(schema: Schema) -> st.SearchStrategy[Arguments]:
    # hypothesis-jsonschema 0.23.1 makes whole objects in a way that Hypothesis has since dropped
    # ("'many' object has no attribute 'more'"), so it makes their properties only.
    own = cast("dict[str, Schema]", schema["properties"])
    values = {name: cast("st.SearchStrategy[Any]", from_schema(own[name])) for name in own}
    required = {name: values.pop(name) for name in schema.get("required", [])}
    return st.fixed_dictionaries(required, optional=values)


def _hints(known: KnownObjects) -> dict[str, st.SearchStrategy[Any]]:
    a_name = st.integers(1, 10**9).map("box-{}".format)
    return {
        "snapshot_id": st.sampled_from(known.snapshots),
        "vm_id": st.sampled_from(known.vms),
        "name": a_name,
        "new_vm_name": a_name,
        "search": st.sampled_from(["", "box", "golden", "%", "&page=9"]),
        "description": st.just("why"),
        "labels": st.just(["keep"]),
        "created_after": st.dates().map(str),
        "created_before": st.datetimes().map(lambda time: time.isoformat() + "Z"),
        "cursor": st.just(""),
        "keep_last": st.integers(1, 9),
        "keep_within": st.sampled_from(["", "30d", "1y6m"]),
        "keep_labels": st.just(["keep"]),
        "time_zone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "plan_token": st.sampled_from(["", "", known.plan_token, known.plan_token[:-2]]),
        "confirm": st.sampled_from(["", "", "yes"]),
    }


@st.composite
def mutated_arguments(draw: st.DrawFn, schema: Schema, known: KnownObjects) -> Arguments:
    """Draw valid arguments and change them up to three times; they may still be valid."""
    arguments = draw(valid_arguments(schema, known))
    names = st.sampled_from(sorted(schema["properties"]))
    for change in draw(
        st.lists(
            st.sampled_from(["junk", "unknown", "converted", "dropped", "out of bounds"]),
            max_size=3,
        )
    ):
        match change:
            case "junk":
                arguments[draw(names)] = draw(_JUNK)
            case "unknown":
                arguments[draw(_UNKNOWN_NAMES)] = draw(_JUNK)
            case "converted":
                name = draw(names)
                arguments[name] = draw(st.sampled_from(_CONVERSIONS))(arguments.get(name, 3))
            case "dropped":
                arguments.pop(draw(names), None)
            case _:
                name = draw(names)
                arguments[name] = draw(
                    st.sampled_from(_out_of_bounds(schema["properties"][name]))
                )()
    return arguments


def _out_of_bounds(own: Schema) -> list[Callable[[], object]]:
    """Return functions that make values just outside the bounds of a property."""
    edges: dict[str, Callable[[Any], object]] = {
        "minimum": lambda bound: bound - 1,
        "maximum": lambda bound: bound + 1,
        "minLength": lambda _: "",
        "maxLength": lambda bound: "x" * (bound + 1),
        "maxItems": lambda bound: ["x"] * (bound + 1),
        "items": lambda _: ["x", ""],
        "enum": lambda values: values[0].upper(),
        "type": lambda kind: [kind],
    }
    return [partial(edges[word], own[word]) for word in edges if word in own]
