"""The command line without a process of its own, for whatever ends before it serves."""

import gc
from collections.abc import Callable, Mapping
from subprocess import CompletedProcess

import pytest

from snapshot_mcp.cli.main import main

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
