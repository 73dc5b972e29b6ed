"""Writes docs/reference.md: tools, prompts, resources, settings and commands, from the code.

`make reference` runs it; tests/test_docs.py holds the page to what it would write.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import Client

from docs.generators.commands import Command, commands
from snapshot_mcp.cli import exit_codes
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.mcp_server.tools.declaration import ToolDeclaration
from snapshot_mcp.mcp_server.tools.toolsets import select_tools
from snapshot_mcp.settings.environment import TOOLSETS, Settings
from snapshot_mcp.settings.reference import SETTINGS

PAGE = Path(__file__).parents[1] / "reference.md"
_HEAD = """\
# Reference

Every tool, prompt, resource, setting and command. This page is made from the code by
`make reference`, and a test holds it to the code; what things are for stands in the other pages.
"""
_EXITS = (
    (exit_codes.OK, "it worked"),
    (exit_codes.FAILED, "it did not work, or the tool refused"),
    (exit_codes.BAD_SETTINGS, "bad settings or arguments"),
    (exit_codes.NOT_AGREED, "a plan was answered and nobody agreed to it: nothing was changed"),
    (exit_codes.INTERRUPTED, "interrupted"),
)


def main() -> int:
    """Write the page."""
    PAGE.write_text(anyio.run(reference), encoding="utf-8", newline="\n")
    return 0


async def reference() -> str:
    """The page."""
    async with Client(create_server(Settings())) as client:
        parts = [_HEAD, "## Tools\n", *_tools()]
        parts += ["## Prompts\n", _table(("Prompt", "Does", "Arguments"), await _prompts(client))]
        parts += ["## Resources\n", _table(("Address", "Holds"), await _resources(client))]
    parts += ["## Settings\n", "An empty value counts as absent.\n", settings_table("")]
    parts += ["## Commands\n", *_commands()]
    exits = [(str(code), meaning) for code, meaning in _EXITS]
    parts += ["## Exit codes\n", _table(("Code", "Means"), exits)]
    return "\n".join(parts)


def settings_table(to_docs: str) -> str:
    """The settings as a table.

    Args:
        to_docs: the way from the page to the folder docs, as links need it.
    """
    rows = [
        (
            " or ".join(f"`{name}`" for name in it.names),
            it.meaning.replace("](docs/", f"]({to_docs}"),
            it.default,
        )
        for it in SETTINGS
    ]
    return _table(("Setting", "Meaning", "Default"), rows)


def describe_effect(tool: ToolDeclaration) -> str:
    """Return what a tool changes, in a few words."""
    if tool.effect == "reads":
        return "no"
    return (
        f"{tool.effect}, with consent"
        if "plan_token" in tool.arguments.model_fields
        else tool.effect
    )


def _tools() -> Iterator[str]:
    for toolset in TOOLSETS:
        yield f"### Toolset `{toolset}`\n"
        for tool in select_tools(toolsets=[toolset]):
            yield from _tool(tool)


def _tool(tool: ToolDeclaration) -> Iterator[str]:
    yield f"#### `{tool.name}`\n"
    yield f"{tool.definition.description}\n"
    yield f"Changes something: {describe_effect(tool)}.\n"
    schema = cast("Mapping[str, Any]", tool.definition.input_schema)
    properties = cast("Mapping[str, Mapping[str, Any]]", schema["properties"])
    if properties:
        required = cast("Sequence[str]", schema.get("required", ()))
        rows = [_argument(name, it, name in required) for name, it in properties.items()]
        yield _table(("Argument", "Takes", "Default", "Meaning"), rows)


def _argument(name: str, schema: Mapping[str, Any], required: bool) -> Sequence[str]:  # noqa: FBT001 - one of a row
    default = "required" if required else _told(schema)
    return (f"`{name}`", _takes(schema), default, str(schema.get("description", "")))


def _told(schema: Mapping[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""


def _takes(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{it}`" for it in schema["enum"])
    kind = {"integer": "whole number", "boolean": "true or false", "array": "list of texts"}
    takes = kind.get(schema["type"], "text")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{takes}, {low} to {high}"
    if "maxLength" in schema:
        return f"{takes}, at most {schema['maxLength']} characters"
    return takes


async def _prompts(client: Client) -> Iterable[Sequence[str]]:
    return [
        (
            f"`{it.name}`",
            f"{it.description}.",
            ", ".join(
                f"`{argument.name}`" + ("" if argument.required else " (optional)")
                for argument in it.arguments or ()
            ),
        )
        for it in (await client.list_prompts()).prompts
    ]


async def _resources(client: Client) -> Iterable[Sequence[str]]:
    templates = (await client.list_resource_templates()).resource_templates
    told = [(it.uri_template, it.description) for it in templates]
    told += [(it.uri, it.description) for it in (await client.list_resources()).resources]
    return [(f"`{address}`", str(description)) for address, description in told]


def _commands() -> Iterator[str]:
    for command in commands():
        yield f"### `{command.usage}`\n"
        yield f"{command.does}\n"
        yield from _options(command)


def _options(command: Command) -> Iterator[str]:
    if command.options:
        rows = [(f"`{it.written}`", it.means) for it in command.options]
        yield _table(("Argument", "Means"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    told = [" | ".join(it.replace("|", "\\|").replace("\n", " ") for it in line) for line in lines]
    return "\n".join(f"| {line} |" for line in told) + "\n"


if __name__ == "__main__":
    sys.exit(main())
