"""Configuration paths of each client on each platform, and the entry in them."""

from pathlib import Path

import pytest

from snapshot_mcp.cli.install.clients import CLIENTS, UserEnvironment
from snapshot_mcp.cli.install.diff import masked_diff
from snapshot_mcp.cli.install.entry import (
    StartCommand,
    build_entry,
    current_start_command,
    parse_variables,
)
from snapshot_mcp.core.errors import ConfigurationError, RefusedError

HOME, PROJECT = Path("home"), Path("project")
LINUX = UserEnvironment("linux", HOME, PROJECT, {})
MAC = UserEnvironment("darwin", HOME, PROJECT, {})
WINDOWS = UserEnvironment("win32", HOME, PROJECT, {})


@pytest.mark.parametrize(
    ("client", "user", "path"),
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
            WINDOWS._replace(variables={"APPDATA": "roaming"}),
            "roaming/Claude/claude_desktop_config.json",
        ),
        ("claude-code", LINUX, "home/.claude.json"),
        ("claude-code", MAC._replace(variables={"CLAUDE_CONFIG_DIR": "own"}), "own/.claude.json"),
        ("cursor", WINDOWS, "home/.cursor/mcp.json"),
        ("vscode", LINUX, "home/.config/Code/User/mcp.json"),
        (
            "vscode",
            LINUX._replace(variables={"XDG_CONFIG_HOME": "xdg"}),
            "xdg/Code/User/mcp.json",
        ),
        ("vscode", MAC, "home/Library/Application Support/Code/User/mcp.json"),
        ("vscode", WINDOWS, "home/AppData/Roaming/Code/User/mcp.json"),
    ],
)
def test_a_user_has_one_file_for_each_client(client: str, user: UserEnvironment, path: str) -> None:
    assert CLIENTS[client].user_path(user) == Path(path)


def test_a_project_has_one_file_if_the_client_supports_projects() -> None:
    assert {name: client.project_path(LINUX) for name, client in CLIENTS.items()} == {
        "claude-desktop": None,
        "claude-code": PROJECT / ".mcp.json",
        "cursor": PROJECT / ".cursor/mcp.json",
        "vscode": PROJECT / ".vscode/mcp.json",
    }


def test_a_client_starts_the_command_of_this_environment(tmp_path: Path) -> None:
    (tmp_path / "snapshot-mcp").touch()
    start = current_start_command(tmp_path, Path("python"), "", lambda _: None)
    assert start == StartCommand(str(tmp_path / "snapshot-mcp"))


def test_a_client_starts_the_module_if_there_is_no_command(tmp_path: Path) -> None:
    start = current_start_command(tmp_path, Path("python"), "", lambda _: None)
    assert start == StartCommand("python", ("-m", "snapshot_mcp"))


def test_a_copy_in_the_cache_of_uv_is_started_with_uvx(tmp_path: Path) -> None:
    python = Path("cache/uv/archive-v0/abc/bin/python")
    start = current_start_command(tmp_path, python, "snapshot-mcp==1", lambda name: f"/bin/{name}")
    assert start == StartCommand("/bin/uvx", ("--from", "snapshot-mcp==1", "snapshot-mcp"))
    with pytest.raises(RefusedError, match="cache"):
        current_start_command(tmp_path, python, "snapshot-mcp==1", lambda _: None)


def test_an_entry_contains_only_the_needed_fields() -> None:
    minimal = build_entry(CLIENTS["cursor"], StartCommand("c"), [], {})
    full = build_entry(CLIENTS["vscode"], StartCommand("c", ("a",)), ["--read-only"], {"A": "b"})
    assert minimal == {"command": "c"}
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
def test_a_name_without_a_value_refers_to_the_environment(client: str, reference: str) -> None:
    assert parse_variables(CLIENTS[client], ["A", "B=c=d"]) == {"A": reference, "B": "c=d"}


def test_a_client_without_references_needs_a_value() -> None:
    with pytest.raises(ConfigurationError, match="clear text"):
        parse_variables(CLIENTS["claude-desktop"], ["A"])


@pytest.mark.parametrize("assignment", ["", "=b", "a b=c", "1=2", "a-b"])
def test_an_invalid_variable_name_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigurationError, match="--env takes"):
        parse_variables(CLIENTS["cursor"], [assignment])


@pytest.mark.parametrize(
    "name", ["SNAPSHOT_MCP_API_KEY", "GITHUB_TOKEN", "Authorization", "PASSWORD"]
)
def test_a_diff_hides_the_secrets_of_all_servers(name: str) -> None:
    shown = masked_diff("{\n}\n", f'{{\n  "{name}": "s3cr\\"et", "B": "c"\n}}\n', "f")
    assert "s3cr" not in shown
    assert f'"{name}": "(hidden)", "B": "c"' in shown


def test_a_diff_shows_references_and_no_control_characters() -> None:
    shown = masked_diff("", f'"A_KEY": "${{env:A}}"\n"b": "\x9b1m"\n{"x" * 999}', "f")
    assert '"A_KEY": "${env:A}"' in shown
    assert '"b": "?1m"' in shown
    assert max(map(len, shown.splitlines())) == 300
