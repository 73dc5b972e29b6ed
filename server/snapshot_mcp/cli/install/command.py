"""`snapshot-mcp install`: one entry in a client's configuration, and nothing else in it."""

import argparse
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import cast

from snapshot_mcp import __version__
from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.install import files
from snapshot_mcp.cli.install.clients import CLIENTS, Client, Machine
from snapshot_mcp.cli.install.diff import masked_diff
from snapshot_mcp.cli.install.edit import add_entry, remove_entry
from snapshot_mcp.cli.install.entry import build_entry, current_start_command, read_variables
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import ConfigurationError, RefusedError
from snapshot_mcp.settings.environment import read_toolsets


def run_install(arguments: argparse.Namespace) -> int:
    """Add or remove the entry, and show the difference; the exit code.

    Raises:
        ConfigError: the arguments do not fit the client.
        RefusedError: the configuration cannot be read or written; nothing was changed.
    """
    client = CLIENTS[arguments.client]
    path = _path(client, project=arguments.project)
    before = files.read_configuration(path)
    after = _edited(path, before or "", client, arguments)
    if after == (before or ""):
        print(f"Nothing to change in {path}.")
        return exit_codes.OK
    print(masked_diff(before or "", after, path.name))
    if arguments.dry_run:
        print(f"Nothing was changed: this is what would be, in {path}.")
        return exit_codes.OK
    kept = files.replace_configuration(path, before, after, utc_now())
    print(f"Changed {path}." + (f" What was there is in {kept.name}." if kept else ""))
    print(f"Restart {client.title} to let it see the change.")
    return exit_codes.OK


def _path(client: Client, *, project: bool) -> Path:
    machine = Machine(sys.platform, Path.home(), Path.cwd(), os.environ)
    if not project:
        return client.yours(machine)
    path = client.project(machine)
    if path is None:
        raise ConfigurationError(f"{client.title} has no configuration for a project.")
    return path


def _edited(path: Path, before: str, client: Client, arguments: argparse.Namespace) -> str:
    mark, text = files.split_mark(before)
    try:
        if arguments.uninstall:
            return mark + remove_entry(text, client.section, arguments.name)
        entry = _entry(client, arguments)
        return mark + add_entry(text, client.section, arguments.name, entry)
    except ValueError as error:
        reason = "it is no valid JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise RefusedError(
            f"{path} cannot be changed: {reason}.", "Nothing was changed. Mend it, and try again."
        ) from error


def _entry(client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    variables = read_variables(client, arguments.env)
    if arguments.consent:
        variables["SNAPSHOT_MCP_CONSENT"] = arguments.consent
    start = current_start_command(
        Path(sysconfig.get_path("scripts")), Path(sys.executable), _source(), shutil.which
    )
    return build_entry(client, start, _options(arguments), variables)


def _options(arguments: argparse.Namespace) -> Iterator[str]:
    if "tools" in arguments:
        yield from ("--tools", ",".join(read_toolsets(arguments.tools)))
    if "read_only" in arguments:
        yield "--read-only"


def _source() -> str:
    """Where this copy came from: a file or an address that was named, else the package index."""
    told = distribution("snapshot-mcp").read_text("direct_url.json")
    origin = cast("dict[str, object]", json.loads(told)) if told else {}
    return str(origin.get("url", f"snapshot-mcp=={__version__}"))
