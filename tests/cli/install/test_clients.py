"""Configuration paths of each client on each platform, and the entry in them."""

import os
from pathlib import Path

import pytest

from snapshot_mcp.cli.install.clients import CLIENTS, UserEnvironment
from snapshot_mcp.cli.install.diff import leaf_texts, masked_diff
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


def no_value(name: str) -> str:
    pytest.fail(f"the value of {name} was read")


@pytest.mark.parametrize(
    ("client", "reference"),
    [("claude-code", "${A}"), ("cursor", "${env:A}"), ("vscode", "${env:A}")],
)
def test_a_name_without_a_value_refers_to_the_environment(client: str, reference: str) -> None:
    variables = parse_variables(CLIENTS[client], ["A", "B=c=d"], no_value)
    assert variables == {"A": reference, "B": "c=d"}


def test_a_client_without_references_gets_a_value_that_was_not_typed_on_the_command_line() -> None:
    client = CLIENTS["claude-desktop"]
    assert parse_variables(client, ["A", "B=b"], str.lower) == {"A": "a", "B": "b"}
    with pytest.raises(ConfigurationError, match="no value for A"):
        parse_variables(client, ["A"], lambda _: "")


@pytest.mark.parametrize("assignment", ["", "=b", "a b=c", "1=2", "a-b"])
def test_an_invalid_variable_name_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigurationError, match="--env takes"):
        parse_variables(CLIENTS["cursor"], [assignment], no_value)


def test_a_misspelt_setting_is_refused_with_the_closest_one() -> None:
    for assignment in ("SNAPSHOT_MCP_READONLY=true", "SNAPSHOT_MCP_READONLY"):
        with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_READ_ONLY"):
            parse_variables(CLIENTS["cursor"], [assignment], no_value)


@pytest.mark.parametrize("value", ["${env:KEY}", "$KEY", "%KEY%", "<your key>", "env:KEY"])
def test_an_unresolved_key_is_refused_where_it_would_be_used_as_it_is(value: str) -> None:
    assignment = f"SNAPSHOT_MCP_API_KEY={value}"
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_API_KEY contains"):
        parse_variables(CLIENTS["claude-desktop"], [assignment], no_value)
    if not value.startswith("${"):
        with pytest.raises(ConfigurationError):
            parse_variables(CLIENTS["cursor"], [assignment], no_value)


@pytest.mark.parametrize("value", ["a\udcffb", "a\nb", "a\0b"])
def test_a_value_that_is_not_text_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="The value of A contains") as caught:
        parse_variables(CLIENTS["cursor"], [f"A={value}"], no_value)
    assert value not in str(caught.value)


def test_quotes_around_a_key_are_removed_and_references_of_the_client_stay() -> None:
    name = "SNAPSHOT_MCP_API_KEY"
    for value, kept in [('"k1"', "k1"), ("${env:OTHER}", "${env:OTHER}"), ("${input:k}",) * 2]:
        assert parse_variables(CLIENTS["vscode"], [f"{name}={value}"], no_value) == {name: kept}


PACKAGE = Path("AppData/Local/Packages/Claude_pzs8sxrjxfjjc")
CONFIGURATION = Path("LocalCache/Roaming/Claude/claude_desktop_config.json")


@pytest.mark.parametrize("variable", ["", "LOCALAPPDATA"])
def test_claude_desktop_from_the_microsoft_store_has_its_own_file(
    tmp_path: Path, variable: str
) -> None:
    variables = {variable: str(tmp_path / "AppData/Local")} if variable else {}
    user = UserEnvironment("win32", tmp_path, tmp_path, variables)
    classic = tmp_path / "AppData/Roaming/Claude/claude_desktop_config.json"
    (tmp_path / "AppData/Local/Packages/Other_abc").mkdir(parents=True)
    assert CLIENTS["claude-desktop"].user_paths(user) == [classic]
    (tmp_path / PACKAGE).mkdir()
    packaged = tmp_path / PACKAGE / CONFIGURATION
    assert CLIENTS["claude-desktop"].user_path(user) == packaged
    assert CLIENTS["claude-desktop"].user_paths(user) == [packaged, classic]
    assert CLIENTS["vscode"].user_path(user).is_relative_to(tmp_path / "AppData/Roaming")
    mac = user._replace(platform="darwin")
    assert "Packages" not in CLIENTS["claude-desktop"].user_path(mac).parts


def test_of_several_packages_the_one_that_was_used_last_is_preferred(tmp_path: Path) -> None:
    user = UserEnvironment("win32", tmp_path, tmp_path, {})
    paths = [
        tmp_path / PACKAGE.with_name(name) / CONFIGURATION for name in ("Claude_a", "Claude_b")
    ]
    for path, time in zip(paths, (100, 200), strict=True):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (time, time))
    assert CLIENTS["claude-desktop"].user_path(user) == paths[1]


def test_a_diff_hides_every_text_that_is_not_shown_explicitly() -> None:
    old = {"command": "x", "args": ["--key", 's3cr"et'], "env": {"A": "s3cret", "N": 7}}
    new = {"command": "x", "env": {"A": "${env:A}", "B": "given"}}
    shown = masked_diff(old, new, "ours", "f", {"x"})
    assert "s3cr" not in shown
    assert "given" not in shown
    assert " 7" not in shown
    assert '     "command": "x",' in shown
    assert '+      "A": "${env:A}",' in shown
    assert '+      "B": "(hidden)"' in shown
    assert set(leaf_texts(old)) == {"x", "--key", 's3cr"et', "s3cret"}


def test_a_diff_shows_no_control_characters_and_no_credentials_in_addresses() -> None:
    texts = {"\x9b1m", "x y" * 333, "git+https://user:s3cret@host/repository?token=s3cret"}
    shown = masked_diff(None, {"args": sorted(texts)}, "n", "f", texts)
    assert '"?1m"' in shown or "9b1m" in shown
    assert "\x9b" not in shown
    assert "s3cret" not in shown
    assert "host/repository" in shown
    assert max(map(len, shown.splitlines())) == 300
