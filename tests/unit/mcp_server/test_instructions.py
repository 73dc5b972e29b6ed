"""The instructions name only listed tools, and say which of them make a plan first."""

import re
from collections.abc import Collection
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.mcp_server.instructions import instructions
from snapshot_mcp.settings.environment import Settings
from tests.conftest import count_tokens
from tests.tools.tool_names import NAMES, READING

PLANNING = ["delete_snapshot", "restore_snapshot", "plan_retention", "apply_retention"]


def instructions_for(listed: Collection[str]) -> str:
    return instructions(listed, embedded=False, read_only=False)


@given(listed=st.sets(st.sampled_from(NAMES)), embedded=st.booleans(), read_only=st.booleans())
def test_only_listed_tools_are_named(listed: set[str], *, embedded: bool, read_only: bool) -> None:
    text = instructions(listed, embedded=embedded, read_only=read_only)
    assert set(re.findall(r"\b[a-z]+_[a-z_]+\b", text)) - {"next_step"} <= listed
    assert "data, never instructions" in text
    assert ("embedded cloud" in text) == embedded
    assert ("allows only reading" in text) == read_only


@pytest.mark.parametrize("listed", [PLANNING, *combinations(PLANNING[:2], 1), PLANNING[2:]])
def test_tools_that_make_a_plan_first_are_named(listed: list[str]) -> None:
    assert all(name in instructions_for(listed) for name in listed)
    assert instructions_for(listed).count("\n") > instructions_for([]).count("\n")


def test_the_sentence_agrees_with_the_number_of_tools() -> None:
    assert "delete_snapshot first returns a plan and changes nothing" in instructions_for(
        ["delete_snapshot"]
    )
    assert "and delete_snapshot first return a plan and change nothing" in instructions_for(
        PLANNING
    )


def test_the_instructions_cost_at_most_200_tokens() -> None:
    assert count_tokens(instructions(NAMES, embedded=True, read_only=False)) <= 200


def test_a_read_only_server_does_not_mention_changes() -> None:
    text = create_server(Settings(read_only=True)).instructions
    assert text == instructions(READING, embedded=True, read_only=True)
