"""Toolsets: their tools, the cost of the definitions, and the prompts that they allow."""

import json
import re
from collections.abc import Collection

import pytest

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.mcp_server.prompt_files import load_prompts, prompt_folder
from snapshot_mcp.mcp_server.tools.declaration import ToolDeclaration
from snapshot_mcp.mcp_server.tools.toolsets import select_tools
from snapshot_mcp.settings.environment import TOOLSETS, Toolset, read_toolsets
from tests.conftest import ERAS, World, count_tokens
from tests.tools.helpers import set_policy


def token_cost(tools: Collection[ToolDeclaration]) -> int:
    """Return the number of tokens of the definitions that a model sees."""
    definitions = [
        json.dumps(
            {
                "name": tool.name,
                "description": tool.definition.description,
                "inputSchema": tool.definition.input_schema,
            },
            separators=(",", ":"),
        )
        for tool in tools
    ]
    return sum(map(count_tokens, definitions))


def test_the_core_definitions_cost_at_most_1300_tokens() -> None:
    assert token_cost(select_tools(toolsets=["core"])) <= 1_300


def test_all_definitions_together_cost_at_most_3000_tokens() -> None:
    assert token_cost(select_tools()) <= 3_000


def test_every_tool_belongs_to_exactly_one_toolset() -> None:
    names = [tool.name for name in TOOLSETS for tool in select_tools(toolsets=[name])]
    assert all(select_tools(toolsets=[name]) for name in TOOLSETS)
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(tool.name for tool in select_tools())


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("toolsets", [(), *((name,) for name in TOOLSETS)])
@pytest.mark.parametrize("read_only", [False, True])
async def test_a_server_lists_and_calls_only_the_tools_of_its_toolsets(
    world: World, mode: str, toolsets: tuple[Toolset, ...], *, read_only: bool
) -> None:
    world.settings = world.settings.model_copy(
        update={"toolsets": toolsets, "read_only": read_only}
    )
    expected = [tool.name for tool in select_tools(read_only=read_only, toolsets=toolsets)]
    everything = {tool.name for tool in select_tools()}
    async with world.client(mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == expected
        for name in everything - set(expected):
            assert (await client.call_tool(name, {})).is_error
    assert world.requests == []


def test_toolsets_are_separated_by_commas() -> None:
    assert read_toolsets(",".join(TOOLSETS)) == TOOLSETS
    assert read_toolsets(" , ".join(reversed(TOOLSETS)) + " ") == TOOLSETS
    assert read_toolsets("core,core") == ("core",)


@pytest.mark.parametrize("text", ["", ",", "core,", "cores", "Core", "core retention", "core;"])
def test_an_unknown_toolset_is_an_error_that_lists_the_names(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_toolsets(text)
    assert str(caught.value).endswith(f"comma-separated list of: {', '.join(TOOLSETS)}.")


def test_the_error_for_an_unknown_toolset_is_sanitized_and_short() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_toolsets('x"\u202e\n' + "y" * 500)
    assert str(caught.value).startswith('There is no toolset "x\\" yyy')
    assert len(str(caught.value)) < 300


def test_a_prompt_needs_exactly_the_tools_that_its_text_names() -> None:
    known = {tool.name for tool in select_tools()}
    for prompt in load_prompts():
        text = (prompt_folder() / f"{prompt.name}.md").read_text("utf-8").rpartition("+++")[2]
        words = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text))
        assert words & known <= prompt.needs, prompt.name
        assert prompt.needs <= words, prompt.name


@pytest.mark.parametrize("mode", ERAS)
async def test_all_prompts_are_listed_with_all_tools(world: World, mode: str) -> None:
    async with world.client(mode) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        listed = {prompt.name for prompt in (await client.list_prompts()).prompts}
    everything = load_prompts()
    assert all(prompt.needs <= tools for prompt in everything)
    assert listed == {prompt.name for prompt in everything}
    assert len(listed) == 5


@pytest.mark.parametrize("mode", ERAS)
async def test_a_prompt_is_listed_only_with_every_tool_that_it_needs(
    world: World, mode: str
) -> None:
    everything = load_prompts()
    for allowed in (
        ["list_virtual_machines", "list_snapshots", "create_snapshot"],
        ["list_virtual_machines", "list_snapshots"],
        [
            *("list_snapshots", "inspect_snapshot", "restore_snapshot", "delete_snapshot"),
            "delete_rehearsal_vm",
        ],
    ):
        set_policy(world, f"[allow]\ntools = {json.dumps(allowed)}")
        async with world.client(mode) as client:
            listed = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert listed == {prompt.name for prompt in everything if prompt.needs <= set(allowed)}
    assert listed == {"roll_back_machine", "rehearse_restore"}


async def test_a_read_only_server_lists_no_prompt_that_leads_to_a_change(
    world: World,
) -> None:
    world.settings = world.settings.model_copy(update={"read_only": True})
    async with world.client() as client:
        listed = {prompt.name for prompt in (await client.list_prompts()).prompts}
    assert listed.isdisjoint(
        {"before_risky_change", "roll_back_machine", "rehearse_restore", "tidy_up_by_policy"}
    )
