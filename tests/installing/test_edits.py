"""The edit of a configuration: ours comes and goes, and every other byte stays as it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.cli.install.edit import add_entry, remove_entry
from snapshot_mcp.cli.install.jsonc import root_of, strict

OURS = {"command": "/opt/snapshot-mcp", "env": {"A": "b // no comment, }"}}
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
    """JSON as people have it: any indent, either line end, comments after members."""
    top = draw(st.dictionaries(KEYS.filter(lambda it: it != SECTION), VALUES, max_size=3))
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


def meant(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    return json.loads(strict(text))


@given(configurations())
def test_the_entry_is_added_and_nothing_else_is_another(text: str) -> None:
    wanted = meant(text)
    wanted[SECTION][NAME] = OURS
    assert meant(add_entry(text, SECTION, NAME, OURS)) == wanted


@given(configurations())
def test_what_was_added_can_be_removed_to_the_last_byte(text: str) -> None:
    back = remove_entry(add_entry(text, SECTION, NAME, OURS), SECTION, NAME)
    if meant(text)[SECTION]:
        assert back == text
    else:  # an empty object may have held blanks
        assert meant(back) == meant(text)


@given(configurations())
def test_adding_twice_is_adding_once(text: str) -> None:
    once = add_entry(text, SECTION, NAME, OURS)
    assert add_entry(once, SECTION, NAME, OURS) == once


@given(configurations(), st.integers(0, 2))
def test_an_entry_is_removed_from_wherever_it_stands(text: str, place: int) -> None:
    whole = meant(text)
    servers = list(whole[SECTION].items())
    servers.insert(place, (NAME, OURS))
    whole[SECTION] = dict(servers)
    for indent in (None, 2):
        removed = remove_entry(json.dumps(whole, indent=indent), SECTION, NAME)
        assert meant(removed) == meant(text)
        assert list(meant(removed)[SECTION]) == list(meant(text)[SECTION])


@given(configurations())
def test_an_older_entry_is_replaced_where_it_stands(text: str) -> None:
    older = add_entry(text, SECTION, NAME, {"command": "old"})
    assert meant(add_entry(older, SECTION, NAME, OURS)) == meant(
        add_entry(text, SECTION, NAME, OURS)
    )


@given(st.text(max_size=40) | st.text('{}[]":,/*a1 \n', max_size=30))
def test_any_other_text_is_refused_or_stays_what_it_means(text: str) -> None:
    try:
        after = add_entry(text, SECTION, NAME, OURS)
    except ValueError:
        return
    wanted = meant(text if text.strip() else "{}")
    wanted.setdefault(SECTION, {})[NAME] = OURS
    assert meant(after) == wanted


@given(VALUES.filter(lambda it: not isinstance(it, dict)))
def test_a_section_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no object"):
        add_entry(json.dumps({SECTION: value}), SECTION, NAME, OURS)


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
def test_the_entry_is_written_as_the_file_is(text: str, after: str) -> None:
    assert add_entry(text, "s", "n", 1) == after  # pyright: ignore[reportArgumentType] - a short one


def test_of_several_sections_of_one_name_the_last_counts_as_it_does_for_clients() -> None:
    text = '{"s": {"o": 1}, "s": {"o": 2}}'
    assert add_entry(text, "s", "n", OURS).startswith('{"s": {"o": 1}, "s": {"o": 2, "n": ')


def test_every_entry_of_that_name_is_removed() -> None:
    assert remove_entry('{"s": {"n": 1, "o": 2, "n": 3}}', "s", "n") == '{"s": { "o": 2}}'


@pytest.mark.parametrize(
    "text", ["[]", "1", '"s"', "{} {}", '{"a": }', '{"a": 1', "{,}", '{"a":,}', "// no"]
)
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        root_of(strict(text))


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        root_of('{"a": ' + "[" * 200_000)
