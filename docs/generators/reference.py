"""Generate docs/reference.md: tools, prompts, resources, settings and commands.

`make reference` runs this module; tests/test_docs.py fails if the page is out of date.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import Client

from docs.generators.commands import Command, list_commands
from snapshot_mcp.cli import exit_codes
from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.mcp_server.tools.declaration import ToolDeclaration
from snapshot_mcp.mcp_server.tools.toolsets import select_tools
from snapshot_mcp.settings.environment import TOOLSETS, Settings
from snapshot_mcp.settings.reference import SETTINGS

PAGE = Path(__file__).parents[1] / "reference.md"
_HEAD = """\
# Reference

All tools, prompts, resources, settings and commands. `make reference` generates this page from the
code, and a test fails if it is out of date. The other pages explain how to use them.
"""
_EXIT_CODES = (
    (exit_codes.OK, "success"),
    (exit_codes.FAILED, "the command failed, or the tool refused"),
    (exit_codes.BAD_SETTINGS, "bad settings or arguments"),
    (
        exit_codes.NOT_CONFIRMED,
        "the tool returned a plan and no person confirmed it; nothing was changed",
    ),
    (exit_codes.INTERRUPTED, "interrupted; 143 by SIGTERM, 129 by SIGHUP"),
    (exit_codes.CLOSED_PIPE, "the reader of the output closed it, as `head` does"),
)


def main() -> int:
    """Write the page and return the exit code."""
    PAGE.write_text(anyio.run(reference), encoding="utf-8", newline="\n")
    return 0


async def reference() -> str:
    """Return the text of the page."""
    async with Client(create_server(Settings())) as client:
        parts = [_HEAD, "## Tools\n", *_tools()]
        parts += [
            "## Prompts\n",
            _table(("Prompt", "Description", "Arguments"), await _prompts(client)),
        ]
        parts += ["## Resources\n", _table(("URI", "Content"), await _resources(client))]
    parts += ["## Settings\n", "An empty value counts as unset.\n", settings_table("")]
    parts += ["## Commands\n", *_commands()]
    exits = [(str(code), meaning) for code, meaning in _EXIT_CODES]
    parts += ["## Exit codes\n", _table(("Code", "Meaning"), exits)]
    return "\n".join(parts)


def settings_table(to_docs: str) -> str:
    """Return the settings as a table.

    Args:
        to_docs: the relative path from the page to the folder docs, for links.
    """
    rows = [
        (
            " or ".join(f"`{name}`" for name in setting.names),
            setting.meaning.replace("](docs/", f"]({to_docs}"),
            setting.default,
        )
        for setting in SETTINGS
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
        rows = [_argument(name, entry, name in required) for name, entry in properties.items()]
        yield _table(("Argument", "Type", "Default", "Meaning"), rows)


def _argument(name: str, schema: Mapping[str, Any], required: bool) -> Sequence[str]:  # noqa: FBT001 - private, one caller
    default = "required" if required else _default(schema)
    return (f"`{name}`", _type(schema), default, str(schema.get("description", "")))


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    names = {"integer": "whole number", "boolean": "true or false", "array": "list of texts"}
    name = names.get(schema["type"], "text")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{name}, {low} to {high}"
    if "maxLength" in schema:
        return f"{name}, at most {schema['maxLength']} characters"
    return name


async def _prompts(client: Client) -> Iterable[Sequence[str]]:
    return [
        (
            f"`{prompt.name}`",
            f"{prompt.description}.",
            ", ".join(
                f"`{argument.name}`" + ("" if argument.required else " (optional)")
                for argument in prompt.arguments or ()
            ),
        )
        for prompt in (await client.list_prompts()).prompts
    ]


async def _resources(client: Client) -> Iterable[Sequence[str]]:
    templates = (await client.list_resource_templates()).resource_templates
    resources = (await client.list_resources()).resources
    rows = [(template.uri_template, template.description) for template in templates]
    rows += [(resource.uri, resource.description) for resource in resources]
    return [(f"`{uri}`", str(description)) for uri, description in rows]


def _commands() -> Iterator[str]:
    for command in list_commands():
        yield f"### `{command.name}`\n"
        yield f"{command.description}\n"
        yield from _options(command)


def _options(command: Command) -> Iterator[str]:
    if command.options:
        rows = [(f"`{option.syntax}`", option.meaning) for option in command.options]
        yield _table(("Argument", "Meaning"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    rendered = [" | ".join(_escape(cell) for cell in line) for line in lines]
    return "\n".join(f"| {line} |" for line in rendered) + "\n"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
