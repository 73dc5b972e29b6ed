"""Arguments for toolsets and read-only mode, before and after the command."""

from pathlib import Path

import pytest

from snapshot_mcp.cli.parser import parse
from snapshot_mcp.mcp_server.tools.toolsets import select_tools
from snapshot_mcp.settings.environment import TOOLSETS
from tests.processes.conftest import Command
from tests.processes.helpers import MODULE, environment, stdio_server

READ_ONLY_TOOLS = [tool.name for tool in select_tools(read_only=True, toolsets=["core"])]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("--tools core --read-only", marks=pytest.mark.slow),
        "--tools core serve --read-only",
    ],
)
def test_only_the_tools_that_the_arguments_permit_are_listed(
    arguments: str, tmp_path: Path
) -> None:
    with stdio_server(tmp_path, command=[*MODULE, *arguments.split()]) as server:
        server.initialize()
        assert list(server.list_tools()) == READ_ONLY_TOOLS
        assert server.close_stdin() == 0


def test_arguments_before_and_after_the_command_are_equivalent() -> None:
    mixed, after = "--tools core serve --read-only", "serve --read-only --tools core"
    assert parse(mixed.split()) == parse(after.split())


def test_an_argument_after_the_command_takes_precedence(command: Command, tmp_path: Path) -> None:
    completed = command(
        "--tools", "core", "serve", "--tools", "nonsense", env=environment(tmp_path)
    )
    assert (completed.returncode, completed.stdout) == (2, "")


@pytest.mark.parametrize("command_arguments", [[], ["serve"]])
def test_an_unknown_toolset_ends_the_start_with_the_list_of_toolsets(
    command: Command, command_arguments: list[str], tmp_path: Path
) -> None:
    completed = command(*command_arguments, "--tools", "core,nonsense", env=environment(tmp_path))
    assert (completed.returncode, completed.stdout) == (2, "")
    (line,) = completed.stderr.splitlines()
    assert line.startswith('snapshot-mcp: There is no toolset "nonsense".')
    assert line.endswith(f"{', '.join(TOOLSETS)}.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", ["--tools core demo", "--read-only sandbox --port 0"])
def test_a_command_that_serves_no_tools_rejects_toolset_arguments(
    command: Command, arguments: str, tmp_path: Path
) -> None:
    completed = command(*arguments.split(), env=environment(tmp_path))
    assert (completed.returncode, completed.stdout) == (2, "")
    assert "does not accept --tools and --read-only" in completed.stderr
