"""What `snapshot-mcp doctor` looks at on this machine: settings, folder, ledger, policy."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from snapshot_mcp import __version__
from snapshot_mcp.cli.doctor.findings import Finding
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import ConfigurationError, LedgerError
from snapshot_mcp.core.sanitize import quoted, sanitize
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.settings.environment import LEDGER_FILE, Settings
from snapshot_mcp.settings.policy_file import load_policy
from snapshot_mcp.settings.reference import SETTINGS, SettingDoc

MIN_FREE_BYTES = 100 * 1024 * 1024
_MAX_PROBLEMS = 3
_OTHERS = 0o077


def versions() -> Finding:
    """What runs."""
    parts = (
        f"snapshot-mcp {__version__}",
        f"mcp {version('mcp')}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.machine()}",
    )
    return Finding("ok", "versions", ", ".join(parts))


def settings_told(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Each setting and where it comes from; a secret is never part of it."""
    for setting in SETTINGS:
        yield Finding("ok", "setting", _told(setting, environment))


def _told(setting: SettingDoc, environment: Mapping[str, str]) -> str:
    for name in setting.names:
        if value := environment.get(name, "").strip():
            shown = "set (not shown)" if setting.secret else quoted(sanitize(value).text)
            return f"{setting.names[0]}: {shown}, from {name}"
    return f"{setting.names[0]}: {setting.default.replace('`', '')}, by default"


def folder_of(settings: Settings) -> Iterator[Finding]:
    """Whether the data folder can be used, by whom, and how much room there is."""
    folder = settings.data_folder()
    existing = next(it for it in (folder, *folder.parents) if it.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("bad", "data folder", f"{folder} may not be written, or cannot be made")
        return
    made = "" if existing == folder else " (made at the first use)"
    yield Finding("ok", "data folder", f"{folder}{made}")
    if sys.platform != "win32" and not made and folder.stat().st_mode & _OTHERS:
        yield Finding("note", "data folder", f"others may enter it: chmod 700 {folder}")
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        yield Finding("note", "data folder", f"only {free // 1_000_000} MB are free there")


async def ledger_of(settings: Settings) -> Finding:
    """Whether the record is whole; nothing is written."""
    folder, url = settings.data_folder(), settings.database_url
    if url is None and not (folder / LEDGER_FILE).exists():
        return Finding("ok", "ledger", "none yet (made at the first change)")
    try:
        with open_ledger_backend(folder, url, utc_now) as records:
            problems = await records.ledger.verify()
    except LedgerError as error:
        return Finding("bad", "ledger", str(error))
    if not problems:
        return Finding("ok", "ledger", "whole")
    more = f" and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
    return Finding("bad", "ledger", "; ".join(problems[:_MAX_PROBLEMS]) + more)


def policy_of(settings: Settings) -> Iterator[Finding]:
    """Whether the policy file can be read, if there is one."""
    if settings.policy is None:
        return
    try:
        load_policy(settings.policy)
    except ConfigurationError as error:
        yield Finding("bad", "policy", str(error))
    else:
        yield Finding("ok", "policy", str(settings.policy))
