"""Panel tools, resources, completions, prompts and subscriptions follow the listed tools."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import (
    INVALID_PARAMS,
    GetPromptRequest,
    GetPromptRequestParams,
    GetPromptResult,
    PromptReference,
    ResourceTemplateReference,
    SubscriptionFilter,
)

from snapshot_mcp.core.uris import (
    PANEL_URI,
    POLICY_URI,
    SNAPSHOT_URI_TEMPLATE,
    VM_SNAPSHOTS_URI_TEMPLATE,
)
from snapshot_mcp.mcp_server.panel.tools import COMMITTED_TOOLS, PANEL_TOOLS
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.settings.environment import Toolset
from tests.conftest import ERAS, World, call_tool, result_text
from tests.tools.helpers import set_policy

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{MCPDeprecationWarning.__module__}.{MCPDeprecationWarning.__name__}"
)
TOOL_NAMES = [tool.name for tool in TOOLS]
NEEDED = {
    "panel_snapshots": {"list_snapshots"},
    "panel_virtual_machine": {"list_virtual_machines"},
    "commit_from_panel": set(COMMITTED_TOOLS),
}
TEMPLATE_TOOLS = {
    SNAPSHOT_URI_TEMPLATE: "inspect_snapshot",
    VM_SNAPSHOTS_URI_TEMPLATE: "list_snapshots",
}
PANEL_CALLS: dict[str, dict[str, object]] = {
    "panel_snapshots": {},
    "panel_virtual_machine": {"vm_id": 793701},
    "commit_from_panel": {
        "tool": "delete_snapshot",
        "plan_token": "x",
        "nonce": "x",
        "words": "x",
    },
}


class AnyPromptParams(GetPromptRequestParams):
    """Parameters of prompts/get of any type, as a careless client sends them."""

    name: Any
    arguments: Any = None


class AnyPromptRequest(GetPromptRequest):
    """A request of prompts/get with these parameters."""

    params: AnyPromptParams  # pyright: ignore[reportIncompatibleVariableOverride] - wider


def allow(world: World, tools: Sequence[str]) -> None:
    set_policy(world, f"[allow]\ntools = {json.dumps(tools)}")


async def listed_tools(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


async def complete(client: Client, template: str) -> list[str]:
    """Return the completions of the id in a resource template."""
    reference = ResourceTemplateReference(type="ref/resource", uri=template)
    result = await client.complete(reference, {"name": "id", "value": ""})
    return result.completion.values


async def subscribes(client: Client, uri: str) -> bool:
    """Return whether the server accepts a subscription to `uri`, in the client's era."""
    if client.protocol_version == ERAS[1]:
        async with client.listen(resource_subscriptions=[uri]) as subscription:
            return uri in (subscription.honored.resource_subscriptions or ())
    try:
        await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated] - of that era
    except MCPError:
        return False
    return True


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("tools", [[], *([name] for name in TOOL_NAMES), TOOL_NAMES], ids=str)
async def test_every_side_door_needs_the_tool_with_the_same_data(
    world: World, mode: str, tools: list[str]
) -> None:
    allow(world, tools)
    async with world.client(mode, panel=True) as client:
        listed = await listed_tools(client)
        assert listed & set(TOOL_NAMES) == set(tools)
        assert listed - set(TOOL_NAMES) == {
            name for name, needed in NEEDED.items() if needed & set(tools)
        }
        templates = {
            template.uri_template
            for template in (await client.list_resource_templates()).resource_templates
        }
        assert templates == {uri for uri, tool in TEMPLATE_TOOLS.items() if tool in tools}
        resources = {resource.uri for resource in (await client.list_resources()).resources}
        shows_panel = any(tool.panel == "shows" and tool.name in tools for tool in TOOLS)
        assert resources == {POLICY_URI} | ({PANEL_URI} if shows_panel else set[str]())
        prompts = (await client.list_prompts()).prompts
        assert bool(prompts) == (tools == TOOL_NAMES)
    assert world.requests == []


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("narrowed_by", ["policy", "toolsets"])
async def test_a_server_without_the_tools_reads_nothing(
    world: World, mode: str, narrowed_by: str
) -> None:
    if narrowed_by == "policy":
        allow(world, [])
    else:
        toolsets: tuple[Toolset, ...] = ("images",)
        world.settings = world.settings.model_copy(update={"toolsets": toolsets, "read_only": True})
    async with world.client(mode, panel=True) as client:
        for tool, arguments in PANEL_CALLS.items():
            result = await client.call_tool(tool, arguments)
            assert result_text(result) == f"Unknown tool: {tool}"
        for uri in ("snapshot://1702", "vm://793701/snapshots", PANEL_URI):
            with pytest.raises(MCPError, match="Unknown resource"):
                await client.read_resource(uri)
            assert not await subscribes(client, uri)
        assert await subscribes(client, POLICY_URI)
        for template in TEMPLATE_TOOLS:
            assert await complete(client, template) == []
        reference = PromptReference(type="ref/prompt", name="roll_back_machine")
        completed = await client.complete(reference, {"name": "machine", "value": ""})
        assert completed.completion.values == []
        with pytest.raises(MCPError, match="Unknown prompt"):
            await client.get_prompt("roll_back_machine", {"machine": "x"})
    assert world.requests == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_without_panels_cannot_call_the_tools_of_the_panel(
    world: World, mode: str
) -> None:
    async with world.client(mode) as client:
        assert await listed_tools(client) == set(TOOL_NAMES)
        for tool, arguments in PANEL_CALLS.items():
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert result_text(result) == f"Unknown tool: {tool}"
    assert world.requests == []
    async with world.client(mode, panel=True) as client:
        assert await listed_tools(client) == {*TOOL_NAMES, *(tool.name for tool in PANEL_TOOLS)}
        assert (await call_tool(client, "panel_snapshots"))["total"] > 0


@pytest.mark.parametrize("mode", ERAS)
async def test_completions_need_the_tool_that_lists_the_same(world: World, mode: str) -> None:
    allow(world, ["inspect_snapshot", "list_snapshots"])
    async with world.client(mode) as client:
        assert await complete(client, SNAPSHOT_URI_TEMPLATE)
        assert await complete(client, VM_SNAPSHOTS_URI_TEMPLATE) == []
    allow(world, ["inspect_snapshot", "list_virtual_machines"])
    async with world.client(mode) as client:
        assert await complete(client, SNAPSHOT_URI_TEMPLATE) == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_list_that_never_changes_is_not_declared_to_change(world: World, mode: str) -> None:
    async with world.client("auto" if mode == ERAS[1] else mode) as client:
        assert (client.protocol_version == ERAS[1]) == (mode == ERAS[1])
        declared = client.server_capabilities
    assert declared.tools is not None
    assert declared.prompts is not None
    assert declared.resources is not None
    assert not declared.tools.list_changed
    assert not declared.prompts.list_changed
    assert not declared.resources.list_changed
    assert declared.resources.subscribe
    assert declared.completions is not None


async def test_a_change_of_a_list_cannot_be_subscribed_to(world: World) -> None:
    async with world.client() as client:
        with anyio.fail_after(10):
            async with client.listen(
                tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
            ) as subscription:
                assert subscription.honored == SubscriptionFilter()


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [
        ("unknown", {}),
        ("", {}),
        ("roll_back_machine", {}),
        ("roll_back_machine", {"machine": " "}),
        ("roll_back_machine", {"machine": "web", "other": "x"}),
        ("roll_back_machine", {"machine": 7}),
        ("roll_back_machine", {"machine": None}),
        ("roll_back_machine", ["web"]),
        (7, {}),
    ],
)
async def test_an_unknown_prompt_or_argument_is_an_invalid_parameter(
    world: World, mode: str, prompt: object, arguments: object
) -> None:
    async with world.client(mode) as client:
        params = AnyPromptParams(name=prompt, arguments=arguments)
        with pytest.raises(MCPError) as caught:
            await client.session.send_request(AnyPromptRequest(params=params), GetPromptResult)
    assert caught.value.code == INVALID_PARAMS
    assert world.requests == []
