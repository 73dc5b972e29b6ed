"""A setting or argument that is wrong ends the process at the start, with one sentence."""

from pathlib import Path

import pytest

from snapshot_mcp import __version__
from tests.processes.conftest import Command
from tests.processes.helpers import KEY, environment, run_command

URL = "SNAPSHOT_MCP_API_URL"
THE_KEY = "SNAPSHOT_MCP_API_KEY"
BAD: list[tuple[str, str]] = [
    ("SNAPSHOT_MCP_TIMEOUT", "abc"),
    ("SNAPSHOT_MCP_TIMEOUT", "0"),
    ("SNAPSHOT_MCP_TIMEOUT", "-1"),
    ("SNAPSHOT_MCP_TIMEOUT", "nan"),
    ("SNAPSHOT_MCP_TIMEOUT", "301"),
    ("SNAPSHOT_MCP_CONSENT", "maybe"),
    ("SNAPSHOT_MCP_READ_ONLY", "perhaps"),
    (URL, "http://example.com/v1"),
    (URL, "garbage"),
    ("SNAPSHOT_MCP_DATA_DIR", "relative/folder"),
    ("SNAPSHOT_MCP_POLICY", "relative/policy.toml"),
    ("SNAPSHOT_MCP_POLICY", "/no-such-folder/policy.toml"),
    (THE_KEY, f"{KEY} {KEY}"),
    (THE_KEY, f"{KEY}\n{KEY}"),
]


def complaint(run: Command, env: dict[str, str], *arguments: str) -> str:
    """The only line of a command that ends for its settings."""
    ended = run(*arguments, env=env)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("snapshot-mcp: ")
    assert KEY not in ended.stderr
    return lines[0]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_setting_ends_the_start_with_one_sentence_that_names_it(
    command: Command, name: str, value: str, tmp_path: Path
) -> None:
    line = complaint(command, environment(tmp_path, **({THE_KEY: KEY} | {name: value})))
    assert name in line
    assert list(tmp_path.iterdir()) == []


def test_a_process_ends_for_a_bad_setting_like_the_command(tmp_path: Path) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_TIMEOUT="abc")
    assert "SNAPSHOT_MCP_TIMEOUT" in complaint(run_command, env)


def test_an_address_without_a_key_ends_the_start(command: Command, tmp_path: Path) -> None:
    line = complaint(command, environment(tmp_path, **{URL: "https://api.example/v1"}))
    assert URL in line
    assert THE_KEY in line


def test_a_data_folder_that_is_a_file_ends_the_start_and_the_file_stays(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert "SNAPSHOT_MCP_DATA_DIR" in complaint(command, environment(file))
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "value"), [(THE_KEY, f"{KEY} {KEY}"), ("SNAPSHOT_MCP_DATA_DIR", "relative")]
)
def test_the_embedded_cloud_alone_refuses_its_settings_alike(
    command: Command, name: str, value: str, tmp_path: Path
) -> None:
    line = complaint(command, environment(tmp_path, **{name: value}), "sandbox", "--port", "0")
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
def test_bad_arguments_end_the_start(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    ended = command(*arguments, env=environment(tmp_path))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("usage: snapshot-mcp")
    assert "Traceback" not in ended.stderr


def test_the_version_is_told(command: Command, tmp_path: Path) -> None:
    ended = command("--version", env=environment(tmp_path))
    assert (ended.returncode, ended.stdout) == (0, f"snapshot-mcp {__version__}\n")
    assert ended.stderr == ""


@pytest.mark.parametrize("name", ["", "serve", "sandbox", "demo"])
def test_help_is_given_for_every_command(command: Command, name: str, tmp_path: Path) -> None:
    ended = command(*name.split(), "--help", env=environment(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: snapshot-mcp {name}".rstrip())
    assert name or all(f" {it} " in ended.stdout for it in ("serve", "sandbox", "demo"))
