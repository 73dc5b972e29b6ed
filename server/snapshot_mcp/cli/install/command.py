"""`snapshot-mcp install`: add or remove one entry in a client's configuration."""

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
from snapshot_mcp.cli.install.clients import CLIENTS, Client, UserEnvironment
from snapshot_mcp.cli.install.diff import masked_diff
from snapshot_mcp.cli.install.edit import add_entry, remove_entry
from snapshot_mcp.cli.install.entry import build_entry, current_start_command, parse_variables
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import NOTHING_CHANGED, ConfigurationError, RefusedError
from snapshot_mcp.settings.environment import read_toolsets


def run_install(arguments: argparse.Namespace) -> int:
    """Add or remove the entry, print the difference and return the exit code.

    Raises:
        ConfigurationError: the client does not support an argument.
        RefusedError: the configuration cannot be read or written; nothing was changed.
    """
    client = CLIENTS[arguments.client]
    path = _path(client, project=arguments.project)
    before = files.read_configuration(path)
    after = _edit(path, before or "", client, arguments)
    if after == (before or ""):
        print(f"Nothing to change in {path}.")
        return exit_codes.OK
    print(masked_diff(before or "", after, path.name))
    if arguments.dry_run:
        print(f"{NOTHING_CHANGED} Without --dry-run, {path} would be changed like this.")
        return exit_codes.OK
    backup = files.replace_configuration(path, before, after, utc_now())
    print(f"Changed {path}." + (f" The previous version is in {backup.name}." if backup else ""))
    print(f"Restart {client.title} to load the change.")
    return exit_codes.OK


def _path(client: Client, *, project: bool) -> Path:
    user = UserEnvironment(sys.platform, Path.home(), Path.cwd(), os.environ)
    if not project:
        return client.user_path(user)
    path = client.project_path(user)
    if path is None:
        raise ConfigurationError(f"{client.title} has no project configuration.")
    return path


def _edit(path: Path, before: str, client: Client, arguments: argparse.Namespace) -> str:
    bom, text = files.split_bom(before)
    try:
        if arguments.uninstall:
            return bom + remove_entry(text, client.section, arguments.name)
        entry = _entry(client, arguments)
        return bom + add_entry(text, client.section, arguments.name, entry)
    except ValueError as error:
        reason = "it is not valid JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise RefusedError(
            f"{path} cannot be edited: {reason}.", f"{NOTHING_CHANGED} Fix the file and try again."
        ) from error


def _entry(client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    variables = parse_variables(client, arguments.env)
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
    """Return what this copy was installed from: a URL, or its version in the package index."""
    text = distribution("snapshot-mcp").read_text("direct_url.json")
    origin = cast("dict[str, object]", json.loads(text)) if text else {}
    return str(origin.get("url", f"snapshot-mcp=={__version__}"))
