"""`snapshot-mcp install`: add or remove one entry in a client's configuration."""

import argparse
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import TypeVar, cast

from snapshot_mcp import __version__
from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.install import files
from snapshot_mcp.cli.install.clients import CLIENTS, Client, UserEnvironment
from snapshot_mcp.cli.install.diff import leaf_texts, masked_diff
from snapshot_mcp.cli.install.edit import add_entry, find_entry, remove_entry
from snapshot_mcp.cli.install.entry import build_entry, current_start_command, parse_variables
from snapshot_mcp.cli.install.entry_secrets import (
    blank_backups,
    blank_secrets,
    files_with,
    find_secrets,
    is_secret,
)
from snapshot_mcp.cli.install.hidden_input import read_hidden_value
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import NOTHING_CHANGED, ConfigurationError, RefusedError
from snapshot_mcp.settings.environment import read_toolsets

T = TypeVar("T")


def run_install(arguments: argparse.Namespace) -> int:
    """Add or remove the entry, print the difference and return the exit code.

    Raises:
        ConfigurationError: the client does not support an argument, or the user has no home folder.
        RefusedError: the configuration cannot be read or written; nothing was changed.
    """
    client = CLIENTS[arguments.client]
    user = _read_user()
    if arguments.project:
        path = client.project_path(user)
        if path is None:
            raise ConfigurationError(f"{client.title} has no project configuration.")
        files.check_inside(user.project, path)
        paths = [path]
    else:
        paths = client.user_paths(user)
    if arguments.uninstall:
        for path in [path for path in paths if path.exists()] or paths[:1]:
            _uninstall(client, path, arguments)
    else:
        _install(client, paths, arguments)
    return exit_codes.OK


def _read_user() -> UserEnvironment:
    try:
        return UserEnvironment(sys.platform, Path.home(), Path.cwd(), os.environ)
    except RuntimeError as error:
        raise ConfigurationError("This user has no home folder.", "Set HOME to one.") from error
    except OSError as error:
        raise ConfigurationError(
            "The current folder does not exist any more.", "Change to another folder."
        ) from error


def _install(client: Client, paths: list[Path], arguments: argparse.Namespace) -> None:
    path = paths[0]
    before = files.read_configuration(path)
    # A packaged application reads the other file until its own exists, so that one is copied.
    start = before if before is not None else _first_text(paths[1:])
    bom, text = files.split_bom(start)
    old = _edit(path, lambda: find_entry(text, client.section, arguments.name))
    entry, shown = _entry(client, arguments)
    after = bom + _edit(path, lambda: add_entry(text, client.section, arguments.name, entry))
    variables = cast("dict[str, str]", entry.get("env", {}))
    secrets = [name for name, value in variables.items() if is_secret(name, value)]
    if after == before:
        print(f"Nothing to change in {path}.")
    else:
        print(masked_diff(old, entry, arguments.name, path.name, shown))
    if arguments.dry_run:
        print(f"{NOTHING_CHANGED} Without --dry-run, {path} would be changed like this.")
        return
    if after != before:
        private = bool(secrets) and not arguments.project
        backup = files.replace_configuration(path, before, after, utc_now(), private=private)
        files.restrict_backups(path)
        _report_change(client, path, backup)
    _report_secrets(path, secrets, arguments)


def _report_change(client: Client, path: Path, backup: Path | None) -> None:
    print(f"Changed {path}." + (f" The previous version is in {backup.name}." if backup else ""))
    print(f"Restart {client.title} to load the change.")


def _report_secrets(path: Path, secrets: list[str], arguments: argparse.Namespace) -> None:
    if not secrets:
        return
    names = ", ".join(secrets)
    print(f"{path} contains {names} in clear text.", file=sys.stderr)
    if arguments.project:
        print("Do not commit it: it belongs to the project.", file=sys.stderr)
    if files.is_readable_by_others(path):
        print(
            f"Other users of this machine can read it: chmod 600 {path}, unless another program"
            " needs it as it is.",
            file=sys.stderr,
        )
    if any(f"{name}=" in word for name in secrets for word in arguments.env):
        print(
            "The command line with the value may be in the history of your shell. Next time, pass"
            f" --env {secrets[0]} without a value.",
            file=sys.stderr,
        )


def _uninstall(client: Client, path: Path, arguments: argparse.Namespace) -> None:
    before = files.read_configuration(path)
    bom, text = files.split_bom(before or "")
    section, name = client.section, arguments.name
    old = _edit(path, lambda: find_entry(text, section, name))
    after = bom + _edit(path, lambda: remove_entry(text, section, name))
    secrets = {secret.value for secret in find_secrets(text, section, name)}
    if after == (before or ""):
        print(f"Nothing to change in {path}.")
    else:
        print(masked_diff(old, None, name, path.name, ()))
    if arguments.dry_run:
        print(f"{NOTHING_CHANGED} Without --dry-run, {path} would be changed like this.")
        return
    if after != (before or ""):
        blanked = bom + blank_secrets(text, section, name)
        backup = files.replace_configuration(path, before, after, utc_now(), backup_text=blanked)
        _report_change(client, path, backup)
    files.restrict_backups(path)
    count, found = blank_backups(path, section, name)
    if count:
        print(f"The keys of this entry were also removed from {count} older backups.")
    for file in files_with(path, secrets | found):
        print(f"A key of this entry remains in {file}.", file=sys.stderr)


def _first_text(paths: list[Path]) -> str:
    return next(filter(None, map(files.read_configuration, paths)), "")


def _edit(path: Path, edit: Callable[[], T]) -> T:
    try:
        return edit()
    except ValueError as error:
        reason = "it is not valid JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise RefusedError(
            f"{path} cannot be edited: {reason}.", f"{NOTHING_CHANGED} Fix the file and try again."
        ) from error


def _entry(client: Client, arguments: argparse.Namespace) -> tuple[dict[str, object], set[str]]:
    """Return the entry, and the texts in it that may be printed."""
    read_value = _present_value if arguments.dry_run else read_hidden_value
    variables = parse_variables(client, arguments.env, read_value)
    given = set(variables.values())
    if arguments.consent:
        variables["SNAPSHOT_MCP_CONSENT"] = arguments.consent
    start = current_start_command(
        Path(sysconfig.get_path("scripts")), Path(sys.executable), _source(), shutil.which
    )
    entry = build_entry(client, start, _options(arguments), variables)
    return entry, set(leaf_texts(entry)) - given


def _present_value(name: str) -> str:
    """Return any text in place of a value: a dry run neither asks for it nor prints it."""
    return os.environ.get(name, "") or "value"


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
