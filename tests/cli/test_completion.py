"""`snapshot-mcp completion`: each script names every command."""

import shutil
import subprocess

import pytest

from snapshot_mcp.cli.parser import SHELLS
from tests.processes.conftest import Command
from tests.waiting import START_TIMEOUT_SECONDS

COMMANDS = ("serve", "install", "doctor", "call", "sandbox", "demo", "ledger", "completion")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_names_every_command(command: Command, shell: str) -> None:
    ended = command("completion", shell, env={})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert all(name in ended.stdout for name in COMMANDS)
    program = shutil.which(shell)
    if program and shell != "tcsh":  # tcsh cannot parse a script without running it
        checked = subprocess.run(
            [program, "-n"],
            input=ended.stdout,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_SECONDS,
            check=False,
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_an_unknown_shell_is_refused(command: Command) -> None:
    assert command("completion", "fish", env={}).returncode == 2
