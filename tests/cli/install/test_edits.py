"""Edits of a configuration: every byte outside our entry stays unchanged."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cli.install.edit import add_entry, remove_entry
from snapshot_mcp.cli.install.jsonc import parse_root, to_strict_json

ENTRY = {"command": "/opt/snapshot-mcp", "env": {"A": "b // no comment, }"}}
NAME = "snapshots"
SECTION = "mcpServers"

KEYS = st.text(max_size=6).filter(lambda key: key != NAME)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just('", } // /* */ ,'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
INDENTS = st.sampled_from([None, 0, 2, 4, "\t"])
COMMENTS = st.sampled_from(["", '// note, } " ', '/* { , " */'])


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """Draw JSON as people write it: any indent, either line ending, comments after members."""
    top = draw(st.dictionaries(KEYS.filter(lambda key: key != SECTION), VALUES, max_size=3))
    servers = draw(st.dictionaries(KEYS, VALUES, max_size=3))
    items = list(top.items())
    items.insert(draw(st.integers(0, len(items))), (SECTION, servers))
    indent = draw(INDENTS)
    text = json.dumps(dict(items), indent=indent, ensure_ascii=draw(st.booleans()))
    comment = draw(COMMENTS)
    if indent is not None and comment:
        text = "\n".join(f"{line} {comment}" for line in text.split("\n"))
    return (
        text.replace("\n", "\r\n")
        if draw(st.booleans())
        else text + draw(st.sampled_from(["", "\n"]))
    )


def parse(text: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(to_strict_json(text))


@given(configurations())
def test_adding_an_entry_changes_no_other_value(text: str) -> None:
    wanted = parse(text)
    wanted[SECTION][NAME] = ENTRY
    assert parse(add_entry(text, SECTION, NAME, ENTRY)) == wanted


@given(configurations())
def test_removing_an_added_entry_restores_the_text(text: str) -> None:
    back = remove_entry(add_entry(text, SECTION, NAME, ENTRY), SECTION, NAME)
    if parse(text)[SECTION]:
        assert back == text
    else:  # an empty object may have contained blanks
        assert parse(back) == parse(text)


@given(configurations())
def test_adding_the_same_entry_twice_changes_nothing(text: str) -> None:
    once = add_entry(text, SECTION, NAME, ENTRY)
    assert add_entry(once, SECTION, NAME, ENTRY) == once


@given(configurations(), st.integers(0, 2))
def test_an_entry_is_removed_at_any_position(text: str, position: int) -> None:
    configuration = parse(text)
    servers = list(configuration[SECTION].items())
    servers.insert(position, (NAME, ENTRY))
    configuration[SECTION] = dict(servers)
    for indent in (None, 2):
        removed = remove_entry(json.dumps(configuration, indent=indent), SECTION, NAME)
        assert parse(removed) == parse(text)
        assert list(parse(removed)[SECTION]) == list(parse(text)[SECTION])


@given(configurations())
def test_an_existing_entry_is_replaced_in_place(text: str) -> None:
    older = add_entry(text, SECTION, NAME, {"command": "old"})
    assert parse(add_entry(older, SECTION, NAME, ENTRY)) == parse(
        add_entry(text, SECTION, NAME, ENTRY)
    )


@given(st.text(max_size=40) | st.text('{}[]":,/*a1 \n', max_size=30))
def test_any_other_text_is_refused_or_keeps_its_meaning(text: str) -> None:
    try:
        after = add_entry(text, SECTION, NAME, ENTRY)
    except ValueError:
        return
    wanted = parse(text if text.strip() else "{}")
    wanted.setdefault(SECTION, {})[NAME] = ENTRY
    assert parse(after) == wanted


@given(VALUES.filter(lambda value: not isinstance(value, dict)))
def test_a_section_that_is_not_an_object_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not an object"):
        add_entry(json.dumps({SECTION: value}), SECTION, NAME, ENTRY)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("", '{\n  "s": {\n    "n": 1\n  }\n}\n'),
        ("{}", '{\n  "s": {\n    "n": 1\n  }\n}'),
        ('{"a":1}', '{"a":1, "s": {"n": 1}}'),
        ('{\n\t"a": 1\n}\n', '{\n\t"a": 1,\n\t"s": {\n\t\t"n": 1\n\t}\n}\n'),
        ('{\n  "s": {}\n}', '{\n  "s": {\n    "n": 1\n  }\n}'),
        (
            '{\n  "s": {\n    "o": 2, // mine\n  },\n}',
            '{\n  "s": {\n    "o": 2, // mine\n    "n": 1\n  },\n}',
        ),
        (
            '{\n  "s": {\n    "o": 2 // mine\n  }\n}',
            '{\n  "s": {\n    "o": 2, // mine\n    "n": 1\n  }\n}',
        ),
    ],
)
def test_the_entry_follows_the_formatting_of_the_file(text: str, after: str) -> None:
    assert add_entry(text, "s", "n", 1) == after  # pyright: ignore[reportArgumentType] - short


def test_of_duplicate_sections_the_last_is_edited_because_clients_read_that_one() -> None:
    text = '{"s": {"o": 1}, "s": {"o": 2}}'
    assert add_entry(text, "s", "n", ENTRY).startswith('{"s": {"o": 1}, "s": {"o": 2, "n": ')


def test_all_entries_with_the_name_are_removed() -> None:
    assert remove_entry('{"s": {"n": 1, "o": 2, "n": 3}}', "s", "n") == '{"s": { "o": 2}}'


@pytest.mark.parametrize(
    "text", ["[]", "1", '"s"', "{} {}", '{"a": }', '{"a": 1', "{,}", '{"a":,}', "// no"]
)
def test_text_that_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_root(to_strict_json(text))


def test_excessive_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        parse_root('{"a": ' + "[" * 200_000)
