"""Checks of `snapshot-mcp doctor` on this machine: settings, data folder, ledger, policy."""

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version

import anyio

from snapshot_mcp import __version__
from snapshot_mcp.cli.doctor.findings import Finding
from snapshot_mcp.cloud.connection_failures import Destination, describe_remedy, host_and_port
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import ConfigurationError, LedgerError
from snapshot_mcp.core.sanitize import quoted_exactly, sanitize
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.settings.environment import Settings
from snapshot_mcp.settings.policy_file import load_policy
from snapshot_mcp.settings.raw_values import clean_value
from snapshot_mcp.settings.redaction import redact_setting
from snapshot_mcp.settings.reference import SETTINGS, SettingDoc
from snapshot_mcp.settings.start_checks import find_folder_problem

MIN_FREE_BYTES = 100 * 1024 * 1024
_MAX_PROBLEMS = 3
_DATABASE_TIMEOUT_SECONDS = 5.0
_DATABASE_URL = "SNAPSHOT_MCP_DATABASE_URL"
_GROUP_AND_OTHERS = 0o077


def describe_versions() -> Finding:
    """Return the versions of the server, the SDK, Python and the platform."""
    parts = (
        f"snapshot-mcp {__version__}",
        f"mcp {version('mcp')}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.machine()}",
    )
    return Finding("ok", "versions", ", ".join(parts))


def describe_settings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield each setting with its source, without the value of a secret."""
    for setting in SETTINGS:
        yield Finding("ok", "setting", _describe_setting(setting, environment))


def _describe_setting(setting: SettingDoc, environment: Mapping[str, str]) -> str:
    for name in setting.names:
        if clean_value(environment.get(name, "")):
            shown = "set (not shown)"
            if not setting.secret:
                shown = quoted_exactly(sanitize(redact_setting(name, environment)).text)
            return f"{setting.names[0]}: {shown}, from {name}"
    return f"{setting.names[0]}: {setting.default.replace('`', '')}, by default"


def check_data_folder(settings: Settings) -> Iterator[Finding]:
    """Check that the data folder is writable, private, and has free space."""
    folder = settings.data_folder()
    if problem := find_folder_problem(folder):
        yield Finding("bad", "data folder", f"{folder} cannot be used: {problem}")
        return
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    note = "" if existing == folder else " (created on first use)"
    yield Finding("ok", "data folder", f"{folder}{note}")
    if sys.platform != "win32" and not note and folder.stat().st_mode & _GROUP_AND_OTHERS:
        yield Finding("note", "data folder", f"other users have access: chmod 700 {folder}")
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < MIN_FREE_BYTES:
        yield Finding("note", "data folder", f"only {free_bytes // 1_000_000} MB free")


async def check_ledger(settings: Settings) -> Finding:
    """Verify the ledger without writing to it."""
    folder, url = settings.data_folder(), settings.database_url
    if url is not None and (problem := await _find_database_problem(url.get_secret_value())):
        return Finding("bad", "ledger", problem)
    try:
        with open_ledger_backend(folder, url, utc_now, settings.find_signing_key()) as backend:
            problems, has_rows, losses, notes = await backend.ledger.inspect()
    except LedgerError as error:
        return Finding("bad", "ledger", str(error))
    if not problems and not has_rows:
        return Finding("ok", "ledger", "none yet (created by the first change)")
    if not problems and losses:
        reason = sanitize(losses[-1].reason).text
        return Finding("note", "ledger", f"intact; acknowledged at {losses[-1].at}: {reason}")
    if not problems:
        return Finding("ok", "ledger", " ".join(["intact", *(f"({note})" for note in notes)]))
    more = f" and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
    return Finding("bad", "ledger", "; ".join(problems[:_MAX_PROBLEMS]) + more)


async def _find_database_problem(url: str) -> str:
    """Return why no connection to the database's port is possible; empty if it is, or unclear.

    The client library does not say why, only that its time limit is over.
    """
    host, _, port = host_and_port(url).rpartition(":")
    if not host or "," in url:  # a socket of this machine, or several hosts
        return ""
    try:
        with anyio.fail_after(_DATABASE_TIMEOUT_SECONDS):
            stream = await anyio.connect_tcp(host.strip("[]"), int(port))
    except OSError as error:
        return describe_remedy(error, Destination(f"{host}:{port}", "", _DATABASE_URL))
    await stream.aclose()
    return ""


def check_policy(settings: Settings) -> Iterator[Finding]:
    """Check that the policy file, if one is set, can be read."""
    if settings.policy is None:
        return
    try:
        load_policy(settings.policy, [tool.name for tool in TOOLS])
    except ConfigurationError as error:
        yield Finding("bad", "policy", str(error))
    else:
        yield Finding("ok", "policy", str(settings.policy))
