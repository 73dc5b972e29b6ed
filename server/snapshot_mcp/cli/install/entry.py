"""The entry in a client's configuration that starts this server."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from snapshot_mcp.cli.install.clients import Client
from snapshot_mcp.core.errors import NOTHING_CHANGED, ConfigurationError, RefusedError

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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


def parse_variables(client: Client, assignments: Iterable[str]) -> dict[str, str]:
    """Return the environment variables that --env sets.

    Args:
        client: the client that reads the entry.
        assignments: NAME=VALUE for a value, or NAME for a reference to the client's environment.

    Raises:
        ConfigurationError: a name is not valid, or the client does not support references.
    """
    variables: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not _VARIABLE_NAME.fullmatch(name):
            raise ConfigurationError(
                "--env takes NAME=VALUE or NAME, such as SNAPSHOT_MCP_API_KEY."
            )
        if not equals and client.reference is None:
            raise ConfigurationError(
                f"{client.title} does not pass variables of its own environment to a server.",
                f"Use --env {name}=VALUE, which is written in clear text; or install the bundle,"
                " which stores the key in the system's secret store.",
            )
        variables[name] = value if equals else (client.reference or "").format(name)
    return variables
