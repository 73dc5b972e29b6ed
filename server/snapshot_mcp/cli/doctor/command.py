"""`snapshot-mcp doctor`: why it works, or why not. It changes nothing, here or in the cloud."""

import argparse
import os
from collections.abc import Mapping

import anyio

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.doctor.cloud_checks import cloud_of
from snapshot_mcp.cli.doctor.findings import Finding, as_json, as_lines, is_well
from snapshot_mcp.cli.doctor.local_checks import (
    folder_of,
    ledger_of,
    policy_of,
    settings_told,
    versions,
)
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import Settings, read_settings
from snapshot_mcp.transports.http.settings import read_http_settings


def run_doctor(arguments: argparse.Namespace) -> int:
    """Look at everything and tell it; the exit code."""
    findings = [versions(), *settings_told(os.environ)]
    settings = _settings(os.environ, findings)
    if settings is not None:
        findings += [*policy_of(settings), *folder_of(settings)]
        findings += anyio.run(_asked, settings)
    print((as_json if arguments.json else as_lines)(findings))
    if settings is None:
        return exit_codes.BAD_SETTINGS
    return exit_codes.OK if is_well(findings) else exit_codes.FAILED


def _settings(environment: Mapping[str, str], findings: list[Finding]) -> Settings | None:
    try:
        read_http_settings(
            environment
        )  # what it says is of no use here, but that it can be read is
        return read_settings(environment)
    except ConfigurationError as error:
        findings.append(Finding("bad", "settings", str(error)))
        return None


async def _asked(settings: Settings) -> list[Finding]:
    return [await ledger_of(settings), *await cloud_of(settings)]
