"""What stands in a client's configuration: how to start this server."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from snapshot_mcp.cli.install.clients import Client
from snapshot_mcp.core.errors import ConfigurationError, RefusedError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PASSING = re.compile(r"(archive|environments|builds)-v\d+")
"""Folders of uv's cache: what runs from there may be cleared away at any time."""


class StartCommand(NamedTuple):
    """The command that starts this server, and its arguments."""

    command: str
    arguments: tuple[str, ...] = ()


def current_start_command(
    scripts: Path, executable: Path, source: str, find: Callable[[str], str | None]
) -> StartCommand:
    """How a client starts the very copy that runs now.

    Args:
        scripts: the folder of this environment's commands.
        executable: this environment's Python.
        source: what `uvx --from` takes to get this copy again.
        find: the path of a program by its name; None where there is none.

    Raises:
        RefusedError: this copy does not stay, and there is no uvx that could get it again.
    """
    if any(_PASSING.fullmatch(part) for part in executable.parts):
        uvx = find("uvx")
        if uvx is None:
            raise RefusedError(
                "This copy runs from a cache that may be cleared, and uvx is not found.",
                "Nothing was changed. Install it to stay (uv tool install snapshot-mcp, or"
                " pipx install snapshot-mcp), and run its install command.",
            )
        return StartCommand(uvx, ("--from", source, "snapshot-mcp"))
    for name in ("snapshot-mcp", "snapshot-mcp.exe"):
        if (scripts / name).is_file():
            return StartCommand(str(scripts / name))
    return StartCommand(str(executable), ("-m", "snapshot_mcp"))


def build_entry(
    client: Client, start: StartCommand, options: Iterable[str], variables: Mapping[str, str]
) -> dict[str, object]:
    """The entry of this server, in the client's form.

    Args:
        client: whose.
        start: the command.
        options: the options of the command line.
        variables: names and values for the server's environment.
    """
    entry: dict[str, object] = {"type": "stdio"} if client.typed else {}
    entry["command"] = start.command
    arguments = [*start.arguments, *options]
    if arguments:
        entry["args"] = arguments
    if variables:
        entry["env"] = dict(variables)
    return entry


def read_variables(client: Client, told: Iterable[str]) -> dict[str, str]:
    """What --env says: NAME=VALUE is a value, NAME refers to the client's environment.

    Raises:
        ConfigError: a name is none, or the client cannot refer to its environment.
    """
    variables: dict[str, str] = {}
    for each in told:
        name, is_value, value = each.partition("=")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                "--env takes NAME=VALUE or NAME, such as SNAPSHOT_MCP_API_KEY."
            )
        if not is_value and client.reference is None:
            raise ConfigurationError(
                f"{client.title} gives a server no variable of its own environment.",
                f"Give --env {name}=VALUE, which is written in the clear; or use the bundle, whose"
                " key goes where the system keeps secrets.",
            )
        variables[name] = value if is_value else (client.reference or "").format(name)
    return variables
