"""A start imports no module that only calls or other commands need."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.processes.helpers import stdio_server

LAZY_MODULES = {
    "argparse",
    "cachetools",
    "httpcore",
    "httpx",
    "jwt",
    "msgspec",
    "opentelemetry.exporter",
    "opentelemetry.sdk",
    "platformdirs",
    "prometheus_client",
    "psycopg",
    "psycopg_pool",
    "pyrate_limiter",
    "rich.text",
    "sqlite3",
    "structlog",
    "tenacity",
    "shtab",
    "snapshot_mcp.cloud.client",
    "snapshot_mcp.cloud.writer",
    "snapshot_mcp.cli.call",
    "snapshot_mcp.cli.doctor",
    "snapshot_mcp.cli.parser",
    "snapshot_mcp.consent.gate",
    "snapshot_mcp.cli.install",
    "snapshot_mcp.ledger.sqlite",
    "snapshot_mcp.operations.planned_write",
    "snapshot_mcp.operations.queries",
    "snapshot_mcp.settings.policy_file",
    "snapshot_mcp.ledger.postgres",
    "snapshot_mcp.ledger.base",
    "snapshot_mcp.ledger.store",
    "snapshot_mcp.ledger.backend",
    "snapshot_mcp.rules",
    "snapshot_mcp.sandbox",
    "snapshot_mcp.telemetry.opentelemetry",
    "snapshot_mcp.telemetry.setup",
    "snapshot_mcp.transports.http",
}
"""Importing them slows a start, and none is needed before the first call."""

_IMPORT = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)


def test_a_start_imports_nothing_that_only_a_call_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith("COV"):  # measuring coverage imports sqlite3
            monkeypatch.delenv(name)
    command = [sys.executable, "-X", "importtime", "-m", "snapshot_mcp"]
    with stdio_server(tmp_path, command=command) as server:
        server.initialize()
        assert server.list_tools()
        at_start = set(_IMPORT.findall(server.stderr))
        server.call_tool("list_snapshots")
        after_call = set(_IMPORT.findall(server.stderr))
    assert "mcp.server.lowlevel" in at_start
    assert LAZY_MODULES & at_start == set()
    assert {"httpx", "sqlite3", "msgspec"} <= after_call
    assert list(tmp_path.iterdir())
