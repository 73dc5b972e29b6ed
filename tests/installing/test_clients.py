"""Where each client keeps its configuration, on each platform, and what goes in."""

from pathlib import Path

import pytest

from snapshot_mcp.cli.install.clients import CLIENTS, Machine
from snapshot_mcp.cli.install.diff import masked_diff
from snapshot_mcp.cli.install.entry import (
    StartCommand,
    build_entry,
    current_start_command,
    read_variables,
)
from snapshot_mcp.core.errors import ConfigurationError, RefusedError

HOME, FOLDER = Path("home"), Path("project")
LINUX = Machine("linux", HOME, FOLDER, {})
MAC = Machine("darwin", HOME, FOLDER, {})
WINDOWS = Machine("win32", HOME, FOLDER, {})


@pytest.mark.parametrize(
    ("client", "machine", "path"),
    [
        ("claude-desktop", LINUX, "home/.config/Claude/claude_desktop_config.json"),
        (
            "claude-desktop",
            MAC,
            "home/Library/Application Support/Claude/claude_desktop_config.json",
        ),
        ("claude-desktop", WINDOWS, "home/AppData/Roaming/Claude/claude_desktop_config.json"),
        (
            "claude-desktop",
            WINDOWS._replace(environment={"APPDATA": "roaming"}),
            "roaming/Claude/claude_desktop_config.json",
        ),
        ("claude-code", LINUX, "home/.claude.json"),
        ("claude-code", MAC._replace(environment={"CLAUDE_CONFIG_DIR": "own"}), "own/.claude.json"),
        ("cursor", WINDOWS, "home/.cursor/mcp.json"),
        ("vscode", LINUX, "home/.config/Code/User/mcp.json"),
        (
            "vscode",
            LINUX._replace(environment={"XDG_CONFIG_HOME": "xdg"}),
            "xdg/Code/User/mcp.json",
        ),
        ("vscode", MAC, "home/Library/Application Support/Code/User/mcp.json"),
        ("vscode", WINDOWS, "home/AppData/Roaming/Code/User/mcp.json"),
    ],
)
def test_a_person_has_one_file_for_each_client(client: str, machine: Machine, path: str) -> None:
    assert CLIENTS[client].yours(machine) == Path(path)


def test_a_project_has_one_file_where_the_client_knows_projects() -> None:
    assert {name: client.project(LINUX) for name, client in CLIENTS.items()} == {
        "claude-desktop": None,
        "claude-code": FOLDER / ".mcp.json",
        "cursor": FOLDER / ".cursor/mcp.json",
        "vscode": FOLDER / ".vscode/mcp.json",
    }


def test_a_client_starts_the_command_of_this_environment(tmp_path: Path) -> None:
    (tmp_path / "snapshot-mcp").touch()
    start = current_start_command(tmp_path, Path("python"), "", lambda _: None)
    assert start == StartCommand(str(tmp_path / "snapshot-mcp"))


def test_without_a_command_it_starts_the_module(tmp_path: Path) -> None:
    start = current_start_command(tmp_path, Path("python"), "", lambda _: None)
    assert start == StartCommand("python", ("-m", "snapshot_mcp"))


def test_a_copy_in_a_cache_is_had_again_by_uvx(tmp_path: Path) -> None:
    python = Path("cache/uv/archive-v0/abc/bin/python")
    start = current_start_command(tmp_path, python, "snapshot-mcp==1", lambda name: f"/bin/{name}")
    assert start == StartCommand("/bin/uvx", ("--from", "snapshot-mcp==1", "snapshot-mcp"))
    with pytest.raises(RefusedError, match="cache"):
        current_start_command(tmp_path, python, "snapshot-mcp==1", lambda _: None)


def test_an_entry_holds_what_is_needed_and_no_more() -> None:
    bare = build_entry(CLIENTS["cursor"], StartCommand("c"), [], {})
    full = build_entry(CLIENTS["vscode"], StartCommand("c", ("a",)), ["--read-only"], {"A": "b"})
    assert bare == {"command": "c"}
    assert full == {
        "type": "stdio",
        "command": "c",
        "args": ["a", "--read-only"],
        "env": {"A": "b"},
    }


@pytest.mark.parametrize(
    ("client", "reference"),
    [("claude-code", "${A}"), ("cursor", "${env:A}"), ("vscode", "${env:A}")],
)
def test_a_name_alone_refers_to_the_environment(client: str, reference: str) -> None:
    assert read_variables(CLIENTS[client], ["A", "B=c=d"]) == {"A": reference, "B": "c=d"}


def test_a_client_that_cannot_refer_is_given_no_name_alone() -> None:
    with pytest.raises(ConfigurationError, match="in the clear"):
        read_variables(CLIENTS["claude-desktop"], ["A"])


@pytest.mark.parametrize("told", ["", "=b", "a b=c", "1=2", "a-b"])
def test_what_is_no_name_of_a_variable_is_refused(told: str) -> None:
    with pytest.raises(ConfigurationError, match="--env takes"):
        read_variables(CLIENTS["cursor"], [told])


@pytest.mark.parametrize(
    "name", ["SNAPSHOT_MCP_API_KEY", "GITHUB_TOKEN", "Authorization", "PASSWORD"]
)
def test_a_difference_shows_no_secret_of_ours_or_of_others(name: str) -> None:
    shown = masked_diff("{\n}\n", f'{{\n  "{name}": "s3cr\\"et", "B": "c"\n}}\n', "f")
    assert "s3cr" not in shown
    assert f'"{name}": "(hidden)", "B": "c"' in shown


def test_a_difference_shows_references_and_controls_nothing() -> None:
    shown = masked_diff("", f'"A_KEY": "${{env:A}}"\n"b": "\x9b1m"\n{"x" * 999}', "f")
    assert '"A_KEY": "${env:A}"' in shown
    assert '"b": "?1m"' in shown
    assert max(map(len, shown.splitlines())) == 300
