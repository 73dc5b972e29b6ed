"""Disarmed markup: no renderer acts on it, and ordinary names are unchanged."""

import pytest
from hypothesis import given

from snapshot_mcp.core.markup import disarm, rearm, shows_markup, watching_for_markup
from snapshot_mcp.core.sanitize import (
    contains_markup,
    is_plain_word,
    quote_unless_word,
    quoted,
    quoted_exactly,
)
from tests.hostile.rendered import MARKUP, ORDINARY, addresses_in, markup_text, rendered_markup


@pytest.mark.parametrize("text", MARKUP.values(), ids=MARKUP)
def test_markup_is_disarmed_and_recognized(text: str) -> None:
    assert contains_markup(text)
    assert quoted(text) != quoted_exactly(text)
    assert rendered_markup(f"7 {quoted(text)} 80") == set()
    assert addresses_in(quoted(text)) == []
    assert not is_plain_word(text)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_is_unchanged(name: str) -> None:
    assert quoted(name) == f'"{name}"'
    assert not contains_markup(name)
    assert rendered_markup(f'7 "{name}" 80') == set()


@given(markup_text(), markup_text())
def test_a_renderer_acts_on_no_text_of_others(one: str, other: str) -> None:
    line = f"7 {quote_unless_word(one)} 80 {quoted(other)},{quote_unless_word(one)}"
    assert rendered_markup(line) == set()
    assert addresses_in(line) == []
    assert "<" not in quoted(one).replace("< ", "").replace('<\\"', "").replace('<"', "")


@given(markup_text())
def test_disarmed_text_is_disarmed_only_once(text: str) -> None:
    assert disarm(quoted(text)) == quoted(text)
    assert contains_markup(text) == (quoted(text) != quoted_exactly(text))
    assert is_plain_word(text) <= (quoted(text) == f'"{text}"')


@pytest.mark.parametrize(
    "name",
    ["web01.example.com", "*gold*", "_old", "a|b", "x@y.z", "http://a", "a<b", "# a", *ORDINARY],
)
def test_a_name_is_found_as_it_was_shown(name: str) -> None:
    assert rearm(quoted(name)[1:-1]) == rearm(name) == name


def test_only_output_with_a_disarmed_text_shows_markup() -> None:
    assert not shows_markup("evil(.)com")
    with watching_for_markup():
        shown = quoted("evil.com")
        assert shows_markup(f"Snapshot {shown} is ready.")
        assert not shows_markup("Nothing was changed.")
        assert quoted("web") == '"web"'
    quoted("evil.com")
    assert not shows_markup(shown)
