"""`snapshot-mcp doctor`: check whether the server can work. It changes nothing."""

import argparse
import os
from collections.abc import Mapping

import anyio

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.doctor.cloud_checks import check_cloud
from snapshot_mcp.cli.doctor.file_checks import check_files
from snapshot_mcp.cli.doctor.findings import Finding, as_json, as_lines, is_healthy
from snapshot_mcp.cli.doctor.issuer_checks import check_issuer
from snapshot_mcp.cli.doctor.local_checks import (
    check_data_folder,
    check_ledger,
    check_policy,
    describe_settings,
    describe_versions,
)
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import Settings, read_settings
from snapshot_mcp.settings.names import unused_ports
from snapshot_mcp.telemetry.logs import configure_logging, read_log_settings
from snapshot_mcp.transports.http.settings import read_http_settings


def run_doctor(arguments: argparse.Namespace) -> int:
    """Run all checks, print the findings and return the exit code."""
    configure_logging({})  # an invalid log setting is a finding
    findings = [describe_versions(), *describe_settings(os.environ)]
    settings = _read_settings(os.environ, findings)
    if settings is not None:
        findings += [*check_policy(settings), *check_data_folder(settings)]
        findings += check_files(settings)
        findings += anyio.run(_check_services, settings)
    print((as_json if arguments.json else as_lines)(findings))
    if settings is None:
        return exit_codes.BAD_SETTINGS
    return exit_codes.OK if is_healthy(findings) else exit_codes.FAILED


def _read_settings(environment: Mapping[str, str], findings: list[Finding]) -> Settings | None:
    """Return the settings, or add one finding for each reason why they cannot be read."""
    problems: dict[str, None] = {}  # without repetitions, in order
    settings = None
    for read in (read_log_settings, read_http_settings):
        try:
            read(environment)
        except ConfigurationError as error:
            problems[str(error)] = None
    try:
        settings = read_settings(environment)
        settings.data_folder()
    except ConfigurationError as error:
        problems[str(error)] = None
    findings += [Finding("bad", "settings", problem) for problem in problems]
    findings += [
        Finding("note", "settings", f"{name} is not a setting; pass serve --port for the port")
        for name in unused_ports(environment)
    ]
    return None if problems else settings


async def _check_services(settings: Settings) -> list[Finding]:
    return [
        await check_ledger(settings),
        *await check_cloud(settings),
        *await check_issuer(read_http_settings(os.environ)),
    ]
