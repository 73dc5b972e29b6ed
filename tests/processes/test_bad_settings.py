"""An invalid setting or argument ends the process at start, with one line of output."""

from pathlib import Path

import pytest

from snapshot_mcp import __version__
from tests.processes.conftest import Command
from tests.processes.helpers import KEY, environment, run_command

API_URL = "SNAPSHOT_MCP_API_URL"
API_KEY = "SNAPSHOT_MCP_API_KEY"
INVALID_SETTINGS: list[tuple[str, str]] = [
    ("SNAPSHOT_MCP_TIMEOUT", "abc"),
    ("SNAPSHOT_MCP_TIMEOUT", "0"),
    ("SNAPSHOT_MCP_TIMEOUT", "-1"),
    ("SNAPSHOT_MCP_TIMEOUT", "nan"),
    ("SNAPSHOT_MCP_TIMEOUT", "301"),
    ("SNAPSHOT_MCP_CONSENT", "maybe"),
    ("SNAPSHOT_MCP_READ_ONLY", "perhaps"),
    (API_URL, "http://example.com/v1"),
    (API_URL, "garbage"),
    ("SNAPSHOT_MCP_DATA_DIR", "relative/folder"),
    ("SNAPSHOT_MCP_POLICY", "relative/policy.toml"),
    ("SNAPSHOT_MCP_POLICY", "/no-such-folder/policy.toml"),
    (API_KEY, f"{KEY} {KEY}"),
    (API_KEY, f"{KEY}\n{KEY}"),
]


def settings_error(run_process: Command, env: dict[str, str], *arguments: str) -> str:
    """Return the only line of output of a command with invalid settings."""
    completed = run_process(*arguments, env=env)
    assert completed.returncode == 2, completed.stderr
    assert completed.stdout == ""
    lines = completed.stderr.splitlines()
    assert len(lines) == 1, completed.stderr
    assert lines[0].startswith("snapshot-mcp: ")
    assert KEY not in completed.stderr
    return lines[0]


@pytest.mark.parametrize(("name", "value"), INVALID_SETTINGS)
def test_an_invalid_setting_ends_the_start_with_one_line_that_names_it(
    command: Command, name: str, value: str, tmp_path: Path
) -> None:
    line = settings_error(command, environment(tmp_path, **({API_KEY: KEY} | {name: value})))
    assert name in line
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_setting_ends_a_real_process(tmp_path: Path) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_TIMEOUT="abc")
    assert "SNAPSHOT_MCP_TIMEOUT" in settings_error(run_command, env)


def test_an_address_without_a_key_ends_the_start(command: Command, tmp_path: Path) -> None:
    line = settings_error(command, environment(tmp_path, **{API_URL: "https://api.example/v1"}))
    assert API_URL in line
    assert API_KEY in line


def test_a_data_folder_that_is_a_file_ends_the_start_and_is_not_changed(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert "SNAPSHOT_MCP_DATA_DIR" in settings_error(command, environment(file))
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "value"), [(API_KEY, f"{KEY} {KEY}"), ("SNAPSHOT_MCP_DATA_DIR", "relative")]
)
def test_the_sandbox_command_also_rejects_invalid_settings(
    command: Command, name: str, value: str, tmp_path: Path
) -> None:
    line = settings_error(command, environment(tmp_path, **{name: value}), "sandbox", "--port", "0")
    assert name in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["demo", "again"],
        ["serve", "--transport", "pigeon"],
        ["serve", "--port", "abc"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "-1"],
        ["sandbox", "--port", "eighty"],
    ],
    ids=" ".join,
)
def test_invalid_arguments_end_the_start(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    completed = command(*arguments, env=environment(tmp_path))
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.startswith("usage: snapshot-mcp")
    assert "Traceback" not in completed.stderr


def test_the_version_is_printed(command: Command, tmp_path: Path) -> None:
    completed = command("--version", env=environment(tmp_path))
    assert (completed.returncode, completed.stdout) == (0, f"snapshot-mcp {__version__}\n")
    assert completed.stderr == ""


@pytest.mark.parametrize("name", ["", "serve", "sandbox", "demo"])
def test_every_command_has_help(command: Command, name: str, tmp_path: Path) -> None:
    completed = command(*name.split(), "--help", env=environment(tmp_path))
    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout.startswith(f"usage: snapshot-mcp {name}".rstrip())
    assert name or all(
        f" {command_name} " in completed.stdout for command_name in ("serve", "sandbox", "demo")
    )
