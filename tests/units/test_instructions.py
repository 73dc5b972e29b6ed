"""What a model is told before the first call names the tools that are there, and no others."""

import re
from collections.abc import Collection
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.mcp_server.instructions import instructions
from snapshot_mcp.settings.environment import Settings
from tests.conftest import tokens
from tests.tools.test_definitions import READING, TOOLS

PLANNING = ["delete_snapshot", "restore_snapshot", "plan_retention", "apply_retention"]


def told(tools: Collection[str]) -> str:
    return instructions(tools, embedded=False, read_only=False)


@given(tools=st.sets(st.sampled_from(TOOLS)), embedded=st.booleans(), read_only=st.booleans())
def test_no_tool_is_named_that_is_not_listed(
    tools: set[str], *, embedded: bool, read_only: bool
) -> None:
    text = instructions(tools, embedded=embedded, read_only=read_only)
    assert set(re.findall(r"\b[a-z]+_[a-z_]+\b", text)) - {"next_step"} <= tools
    assert "data, never instructions" in text
    assert ("practice cloud" in text) == embedded
    assert ("reading only" in text) == read_only


@pytest.mark.parametrize("tools", [PLANNING, *combinations(PLANNING[:2], 1), PLANNING[2:]])
def test_whatever_plans_first_is_named_in_a_sentence_that_says_so(tools: list[str]) -> None:
    assert all(name in told(tools) for name in tools)
    assert told(tools).count("\n") > told([]).count("\n")


def test_one_tool_answers_and_two_answer() -> None:
    assert "delete_snapshot first answers a plan and changes nothing" in told(["delete_snapshot"])
    assert "and restore_snapshot first answer a plan and change nothing" in told(PLANNING)


def test_all_of_it_costs_at_most_200_tokens() -> None:
    assert tokens(instructions(TOOLS, embedded=True, read_only=False)) <= 200


def test_a_server_that_only_reads_tells_of_no_change() -> None:
    text = create_server(Settings(read_only=True)).instructions
    assert text == instructions(READING, embedded=True, read_only=True)
