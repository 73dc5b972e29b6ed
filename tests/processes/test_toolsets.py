"""Toolsets and reading only, by arguments: before the command and after it, and what is refused."""

from pathlib import Path

import pytest

from snapshot_mcp.cli.parser import parse
from snapshot_mcp.mcp_server.tools.toolsets import select_tools
from snapshot_mcp.settings.environment import TOOLSETS
from tests.processes.conftest import Command
from tests.processes.helpers import MODULE, environment, stdio_server

READING = [tool.name for tool in select_tools(read_only=True, toolsets=["core"])]


@pytest.mark.parametrize(
    "arguments", ["--tools core --read-only", "--tools core serve --read-only"]
)
def test_only_what_the_arguments_allow_is_listed(arguments: str, tmp_path: Path) -> None:
    with stdio_server(tmp_path, command=[*MODULE, *arguments.split()]) as server:
        server.initialize()
        assert list(server.list_tools()) == READING
        assert server.close_stdin() == 0


def test_what_stands_before_the_command_and_after_it_is_the_same() -> None:
    mixed, after = "--tools core serve --read-only", "serve --read-only --tools core"
    assert parse(mixed.split()) == parse(after.split())


def test_what_stands_after_the_command_counts(command: Command, tmp_path: Path) -> None:
    ended = command("--tools", "core", "serve", "--tools", "nonsense", env=environment(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")


@pytest.mark.parametrize("words", [[], ["serve"]])
def test_an_unknown_toolset_ends_the_start_with_the_list_of_names(
    command: Command, words: list[str], tmp_path: Path
) -> None:
    ended = command(*words, "--tools", "core,nonsense", env=environment(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith('snapshot-mcp: There is no toolset "nonsense".')
    assert line.endswith(f"{', '.join(TOOLSETS)}.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", ["--tools core demo", "--read-only sandbox --port 0"])
def test_a_command_that_serves_no_tools_refuses_to_be_told_which(
    command: Command, arguments: str, tmp_path: Path
) -> None:
    ended = command(*arguments.split(), env=environment(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--tools and --read-only are not for" in ended.stderr
