"""The command line without a process of its own, for whatever ends before it serves.

Those that wait for time-outs, start several, or kill and start again: SNAPSHOT_MCP_DEEP=1 asks.
"""

import gc
import os
from collections.abc import Callable, Mapping
from subprocess import CompletedProcess

import pytest

from snapshot_mcp.cli.main import main

collect_ignore = (
    []
    if os.environ.get("SNAPSHOT_MCP_DEEP")
    else [
        "test_counting.py",
        "test_ending.py",
        "test_kill.py",
        "test_settle.py",
        "test_two_processes.py",
        "test_vanishing.py",
    ]
)

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Like `run` in `helpers`: arguments and environment in; exit code and output out."""

    def run_here(*arguments: str, env: Mapping[str, str]) -> CompletedProcess[str]:
        monkeypatch.setattr("os.environ", dict(env))
        try:
            code: object = main(arguments)
        except SystemExit as end:  # the parser's
            code = end.code
        finally:
            monkeypatch.undo()
            gc.enable()  # a server goes without
        told = capsys.readouterr()
        return CompletedProcess(arguments, int(str(code)), told.out, told.err)

    return run_here
