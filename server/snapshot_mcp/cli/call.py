"""`snapshot-mcp call`: call one tool through an MCP client in this process.

The server and its consent rules are the same as for any client: a person at the terminal is asked
to confirm.
"""

import argparse
import json
import os
import shlex
from collections.abc import Mapping
from typing import Any, cast

import anyio
import anyio.lowlevel
from mcp import Client, MCPError
from mcp_types import CallToolResult, Implementation, RequestParamsMeta, TextContent
from rich.console import Console
from rich.text import Text

from snapshot_mcp import __version__
from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.arguments import parse_arguments
from snapshot_mcp.cli.interruption import describe_interruption
from snapshot_mcp.cli.interrupts import Interrupts
from snapshot_mcp.cli.tables import render_tables
from snapshot_mcp.cli.terminal import Terminal
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import NOTHING_CHANGED, ConfigurationError
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import Settings, read_settings
from snapshot_mcp.settings.start_checks import check_start

DEFAULT_WIDTH = 120
_FAILED_OUTCOMES = frozenset({"failed", "unknown", "stopped"})
_PLANNED = "confirmation_required"
_COMMIT_ARGUMENTS = ("plan_token", "confirm")
_COMMIT_FIELDS = ("plan_token", "confirm_with", "next_step")
_CLIENT_NAME = "snapshot-mcp call"
_STOPPING = "\nStopping after the request that was sent. To stop now, press Ctrl-C again."


def run_call(arguments: argparse.Namespace) -> int:
    """Call the tool, print its result and return the exit code.

    Raises:
        ConfigurationError: the tool does not exist, or the arguments do not fit its schema.
    """
    settings = read_settings(os.environ)
    check_start(settings, os.environ, slow=True)
    interrupts = Interrupts()
    terminal, started = Terminal(interrupts), utc_now()
    try:
        with interrupts.recorded():
            return _call_and_print(settings, arguments, terminal, interrupts)
    except KeyboardInterrupt:
        client = f"{_CLIENT_NAME} {__version__}"
        terminal.say(anyio.run(describe_interruption, settings, client, started))
        return exit_codes.INTERRUPTED


def _call_and_print(
    settings: Settings, arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts
) -> int:
    if settings.embedded:
        reason = settings.embedded_reason
        terminal.say(f"{reason[0].upper()}{reason[1:]}, so the embedded cloud is used.")
    if settings.embedded_misbehaviour:
        terminal.say(f"It misbehaves on purpose: {settings.embedded_misbehaviour}")
    failures: list[ConfigurationError] = []
    results: list[CallToolResult] = []

    async def call() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stop_when_interrupted, group.cancel_scope)
            results.append(await _call(settings, arguments.tool, arguments.values, terminal))
            group.cancel_scope.cancel()

    async def stop_when_interrupted(scope: anyio.CancelScope) -> None:
        await interrupts.cancel_when_pending(scope, lambda: terminal.is_asking)
        terminal.say(_STOPPING)

    try:
        anyio.run(call)
    except* ConfigurationError as group:
        failures += _flatten(group)
    except* MCPError:
        if not interrupts.pending:  # a press may close the connection before it cancels the call
            raise
    if failures:
        raise failures[0]
    if not results:
        raise KeyboardInterrupt
    return _print_result(results[0], terminal, as_json=arguments.json)


async def _call(
    settings: Settings, tool: str, pairs: list[str], terminal: Terminal
) -> CallToolResult:
    if settings.consent == "auto":
        settings = settings.model_copy(update={"consent": "person"})
    client = Client(
        create_server(settings),
        # Without a person, the server must not believe that this client can ask one.
        elicitation_callback=terminal.answer if terminal.has_person else None,
        client_info=Implementation(name=_CLIENT_NAME, version=__version__),
    )
    async with client:
        values = parse_arguments(await _input_schema(client, tool), pairs)
        with terminal.progress_bar():
            given = values.keys() & set(_COMMIT_ARGUMENTS)
            terminal.confirmed = terminal.has_person or len(given) < len(_COMMIT_ARGUMENTS)
            result = await _send(client, tool, values, terminal)
            plan = cast("dict[str, Any]", result.structured_content or {})
            if _is_plan(plan) and terminal.has_person and not given:
                # This only makes the server ask: the words that the person types decide.
                commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
                result = await _send(client, tool, values | commit, terminal)
        return result


async def _input_schema(client: Client, name: str) -> Mapping[str, Any]:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    if name not in tools:
        raise ConfigurationError(
            "There is no tool with that name.", f"The tools are: {', '.join(tools)}."
        )
    return tools[name].input_schema


async def _send(
    client: Client, tool: str, values: dict[str, object], terminal: Terminal
) -> CallToolResult:
    try:
        # The SDK passes progress within a process without a token. The server needs the token to
        # know that the person sees the progress.
        meta: RequestParamsMeta = {"progress_token": tool}
        return await client.call_tool(
            tool, values, progress_callback=terminal.show_progress, meta=meta
        )
    except MCPError as error:
        await anyio.lowlevel.checkpoint_if_cancelled()  # the cancellation closed the connection
        return CallToolResult(content=[TextContent(text=str(error))], is_error=True)


def _is_plan(content: Mapping[str, Any]) -> bool:
    """Return whether the same tool commits this plan; a retention plan has a tool of its own."""
    return content.get("outcome") == _PLANNED and "decisions" not in content


def _print_result(result: CallToolResult, terminal: Terminal, *, as_json: bool) -> int:
    content = cast("dict[str, Any]", result.structured_content or {})
    if result.is_error:
        texts = [block.text for block in result.content if isinstance(block, TextContent)]
        terminal.say("\n".join(texts))
        return exit_codes.FAILED if terminal.confirmed else exit_codes.NOT_CONFIRMED
    if as_json:
        print(json.dumps(content, indent=2))
    else:
        _print_tables(content)
    if _is_plan(content):
        terminal.say(f"{NOTHING_CHANGED} A person must confirm this plan at a terminal.")
        return exit_codes.NOT_CONFIRMED
    return exit_codes.FAILED if content.get("outcome") in _FAILED_OUTCOMES else exit_codes.OK


def _print_tables(content: Mapping[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=DEFAULT_WIDTH)
    hidden = _COMMIT_FIELDS if content.get("outcome") == _PLANNED else ()
    shown = {key: value for key, value in content.items() if key not in hidden}
    for part in render_tables(shown):
        console.print(part)
    if "decisions" in content and content.get("plan_token"):
        commit = (f"plan_token={content['plan_token']}", f"confirm={content['confirm_with']}")
        command = shlex.join(("snapshot-mcp", "call", "apply_retention", *commit))
        console.print(Text(f"To apply this plan: {command}"), soft_wrap=True)


def _flatten(group: BaseExceptionGroup[ConfigurationError]) -> list[ConfigurationError]:
    errors: list[ConfigurationError] = []
    for error in group.exceptions:
        errors += _flatten(error) if isinstance(error, BaseExceptionGroup) else [error]
    return errors
