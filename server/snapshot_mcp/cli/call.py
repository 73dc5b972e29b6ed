"""`snapshot-mcp call`: one tool, for a person or a script, through an MCP client in this process.

It is the same server with the same consent: a person at the terminal is asked as any client's is.
"""

import argparse
import json
import os
import shlex
from collections.abc import Mapping
from typing import Any, cast

import anyio
from mcp import Client, MCPError
from mcp_types import CallToolResult, Implementation, TextContent
from rich.console import Console
from rich.text import Text

from snapshot_mcp import __version__
from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.arguments import read_values
from snapshot_mcp.cli.tables import tables
from snapshot_mcp.cli.terminal import Terminal
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings, read_settings

DEFAULT_WIDTH = 120
_NOT_DONE = frozenset({"failed", "unknown", "stopped"})
_PLANNED = "confirmation_required"
_COMMIT = ("plan_token", "confirm")
_INTERRUPTED = (
    "\nInterrupted. Nothing was deleted or restored without your agreement;"
    " `snapshot-mcp ledger` shows what was sent."
)
_OF_THE_COMMIT = ("plan_token", "confirm_with", "next_step")


def run_call(arguments: argparse.Namespace) -> int:
    """Call the tool and show its answer; the exit code.

    Raises:
        ConfigError: there is no such tool, or the arguments do not fit it.
    """
    settings = read_settings(os.environ)
    terminal = Terminal()
    try:
        return _call_and_show(settings, arguments, terminal)
    except KeyboardInterrupt:
        terminal.say(_INTERRUPTED)
        return exit_codes.INTERRUPTED


def _call_and_show(settings: Settings, arguments: argparse.Namespace, terminal: Terminal) -> int:
    if settings.embedded:
        terminal.say("There is no API key, so this is the embedded cloud.")
    failures: list[ConfigurationError] = []
    result: list[CallToolResult] = []

    async def call() -> None:
        result.append(await _called(settings, arguments.tool, arguments.values, terminal))

    try:
        anyio.run(call)
    except* ConfigurationError as group:
        failures += _leaves(group)
    if failures:
        raise failures[0]
    return _end(result[0], terminal, as_json=arguments.json)


async def _called(
    settings: Settings, tool: str, pairs: list[str], terminal: Terminal
) -> CallToolResult:
    client = Client(
        create_server(settings),
        elicitation_callback=terminal.answer,
        client_info=Implementation(name="snapshot-mcp call", version=__version__),
    )
    async with client:
        values = read_values(await _schema(client, tool), pairs)
        with terminal.waiting():
            result = await _send(client, tool, values, terminal)
            plan = cast("dict[str, Any]", result.structured_content or {})
            if _is_plan(plan) and terminal.has_person and not values.keys() & set(_COMMIT):
                # The words are the person's: they type them when the server asks.
                commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
                result = await _send(client, tool, values | commit, terminal)
        return result


async def _schema(client: Client, name: str) -> Mapping[str, Any]:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    if name not in tools:
        raise ConfigurationError(f"There is no tool of that name. There are: {', '.join(tools)}.")
    return tools[name].input_schema


async def _send(
    client: Client, tool: str, values: dict[str, object], terminal: Terminal
) -> CallToolResult:
    try:
        return await client.call_tool(tool, values, progress_callback=terminal.progress)
    except MCPError as error:
        return CallToolResult(content=[TextContent(text=str(error))], is_error=True)


def _is_plan(content: Mapping[str, Any]) -> bool:
    """Whether the same tool carries it out, with the plan's token."""
    return content.get("outcome") == _PLANNED and "decisions" not in content


def _end(result: CallToolResult, terminal: Terminal, *, as_json: bool) -> int:
    content = cast("dict[str, Any]", result.structured_content or {})
    if result.is_error:
        terminal.say("\n".join(it.text for it in result.content if isinstance(it, TextContent)))
        return exit_codes.FAILED if terminal.agreed else exit_codes.NOT_AGREED
    if as_json:
        print(json.dumps(content, indent=2))
    else:
        _show(content)
    if _is_plan(content):
        terminal.say("Nothing was changed: a person must agree to this plan, at a terminal.")
        return exit_codes.NOT_AGREED
    return exit_codes.FAILED if content.get("outcome") in _NOT_DONE else exit_codes.OK


def _show(content: Mapping[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=DEFAULT_WIDTH)
    hidden = _OF_THE_COMMIT if content.get("outcome") == _PLANNED else ()
    shown = {key: value for key, value in content.items() if key not in hidden}
    for part in tables(shown):
        console.print(part)
    if "decisions" in content and content.get("plan_token"):
        commit = (f"plan_token={content['plan_token']}", f"confirm={content['confirm_with']}")
        command = shlex.join(("snapshot-mcp", "call", "apply_retention", *commit))
        console.print(Text(f"To carry it out: {command}"), soft_wrap=True)


def _leaves(group: BaseExceptionGroup[ConfigurationError]) -> list[ConfigurationError]:
    leaves: list[ConfigurationError] = []
    for each in group.exceptions:
        leaves += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return leaves
