"""The entry in a client's configuration that starts this server."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from snapshot_mcp.cli.install.clients import Client
from snapshot_mcp.core.errors import NOTHING_CHANGED, ConfigurationError, RefusedError
from snapshot_mcp.settings.names import SETTING_NAMES, check_names
from snapshot_mcp.settings.raw_values import check_resolved, check_secret, clean_value

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$\{[^{}]+\}")
_KEY_ENDINGS = ("_KEY", "_TOKEN")
_UV_CACHE_FOLDER = re.compile(r"(archive|environments|builds)-v\d+")
"""Folders of uv's cache, which may be cleared at any time."""


class StartCommand(NamedTuple):
    """A command and the arguments that start this server."""

    command: str
    arguments: tuple[str, ...] = ()


def current_start_command(
    scripts: Path, executable: Path, source: str, find: Callable[[str], str | None]
) -> StartCommand:
    """Return the command with which a client starts the copy that is running now.

    Args:
        scripts: the folder of this environment's commands.
        executable: this environment's Python.
        source: the argument of `uvx --from` that installs this copy.
        find: returns the path of a program, or None if it is not found.

    Raises:
        RefusedError: this copy runs from uv's cache, and uvx is not found.
    """
    if any(_UV_CACHE_FOLDER.fullmatch(part) for part in executable.parts):
        uvx = find("uvx")
        if uvx is None:
            raise RefusedError(
                "This copy runs from a cache that may be cleared, and uvx was not found.",
                f"{NOTHING_CHANGED} Install snapshot-mcp permanently (uv tool install snapshot-mcp,"
                " or pipx install snapshot-mcp), then run snapshot-mcp install again.",
            )
        return StartCommand(uvx, ("--from", source, "snapshot-mcp"))
    for name in ("snapshot-mcp", "snapshot-mcp.exe"):
        if (scripts / name).is_file():
            return StartCommand(str(scripts / name))
    return StartCommand(str(executable), ("-m", "snapshot_mcp"))


def build_entry(
    client: Client, start: StartCommand, options: Iterable[str], variables: Mapping[str, str]
) -> dict[str, object]:
    """Return the entry of this server in the client's format.

    Args:
        client: the client that reads the entry.
        start: the command that starts the server.
        options: further command-line options.
        variables: environment variables of the server.
    """
    entry: dict[str, object] = {"type": "stdio"} if client.typed else {}
    entry["command"] = start.command
    arguments = [*start.arguments, *options]
    if arguments:
        entry["args"] = arguments
    if variables:
        entry["env"] = dict(variables)
    return entry


def parse_variables(
    client: Client, assignments: Iterable[str], read_value: Callable[[str], str]
) -> dict[str, str]:
    """Return the environment variables that --env sets.

    Args:
        client: the client that reads the entry.
        assignments: NAME=VALUE for a value, or NAME for a reference to the client's environment.
        read_value: returns the value of a name, for a client that supports no references.

    Raises:
        ConfigurationError: a name is not valid, or a value is missing or not resolved.
    """
    variables: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not _VARIABLE_NAME.fullmatch(name):
            raise ConfigurationError(
                "--env takes NAME=VALUE or NAME, such as SNAPSHOT_MCP_API_KEY."
            )
        check_names({name: "any value"})
        if not equals and client.reference is not None:
            variables[name] = client.reference.format(name)
            continue
        value = value if equals else read_value(name)
        if not equals and not value:
            raise ConfigurationError(
                f"There is no value for {name}, which {client.title} cannot pass on by itself.",
                f"Set {name} in this shell, or enter it when the command asks; or install the"
                " bundle, which stores the key in the system's secret store.",
            )
        if not value.isprintable():
            raise ConfigurationError(
                f"The value of {name} contains a character that is not text (it is not shown here)."
            )
        is_reference = client.reference is not None and _REFERENCE.fullmatch(value)
        if name in SETTING_NAMES and not is_reference:
            value = clean_value(value)
            (check_secret if name.endswith(_KEY_ENDINGS) else check_resolved)(name, value)
        variables[name] = value
    return variables
