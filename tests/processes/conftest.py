"""The command line within the test process, for commands that end by themselves."""

import gc
from collections.abc import Callable, Mapping
from subprocess import CompletedProcess

import pytest

from snapshot_mcp.cli.main import main

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command like `run_command` in `helpers`, but within this process."""

    def run_here(*arguments: str, env: Mapping[str, str]) -> CompletedProcess[str]:
        monkeypatch.setattr("os.environ", dict(env))
        try:
            code: object = main(arguments)
        except SystemExit as exit_request:  # raised by the parser
            code = exit_request.code
        finally:
            monkeypatch.undo()
            gc.enable()  # a server turns it off
        output = capsys.readouterr()
        return CompletedProcess(arguments, int(str(code)), output.out, output.err)

    return run_here
