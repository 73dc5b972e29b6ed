"""`snapshot-mcp install`: the command on real files in a temporary home folder."""

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from snapshot_mcp.cli.install import files
from snapshot_mcp.cli.install.clients import CLIENTS, UserEnvironment
from snapshot_mcp.core.clock import utc_now
from snapshot_mcp.core.errors import RefusedError
from tests.processes.helpers import KEY, TOOLS, environment, stdio_server
from tests.scale import scale

Install = Callable[..., CompletedProcess[str]]
EXISTING = """{
    "theme": "dark", // mine
    "mcpServers": {
        "other": {"command": "x"}
    }
}
"""


def variables(home: Path) -> dict[str, str]:
    """Return environment variables with `home` as the home folder."""
    folders = {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "APPDATA": str(home / "AppData/Roaming"),
    }
    unset = {"XDG_CONFIG_HOME": "", "CLAUDE_CONFIG_DIR": ""}
    return environment(home / "data") | folders | unset


@pytest.fixture
def install(command: Any, tmp_path: Path) -> Install:  # noqa: ANN401 - a fixture
    return lambda *words: command("install", *words, env=variables(tmp_path))


def configuration_path(client: str, home: Path) -> Path:
    return CLIENTS[client].user_path(UserEnvironment(sys.platform, home, home, variables(home)))


def read_entry(client: str, home: Path, name: str = "snapshots") -> dict[str, Any]:
    configuration = json.loads(configuration_path(client, home).read_text(encoding="utf-8"))
    return configuration[CLIENTS[client].section][name]


# The other clients start the same command, so only test-deep tries them.
@pytest.mark.parametrize("client", [*CLIENTS][: scale(quick=1, deep=len(CLIENTS))])
def test_the_installed_entry_starts_the_server(
    install: Install, client: str, tmp_path: Path
) -> None:
    ended = install(client, "--env", "SNAPSHOT_MCP_TIMEOUT=5")
    assert (ended.returncode, ended.stderr) == (0, "")
    started = read_entry(client, tmp_path)
    words = [started["command"], *started.get("args", [])]
    with stdio_server(tmp_path / "data", command=words, **started["env"]) as server:
        server.initialize()
        assert set(server.list_tools()) == TOOLS
        assert server.close_stdin() == 0


def test_other_entries_stay_and_a_backup_is_kept(install: Install, tmp_path: Path) -> None:
    path = configuration_path("cursor", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(EXISTING.encode())
    path.chmod(0o640)
    ended = install("cursor")
    added = path.read_text(encoding="utf-8")
    assert '"other": {"command": "x"},' in added
    assert "// mine" in added
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (backup,) = path.parent.glob("*.backup")
    assert backup.read_bytes() == EXISTING.encode()
    assert backup.name in ended.stdout
    assert '+  "snapshots": {' in ended.stdout
    assert '"other"' not in ended.stdout
    if os.name == "posix":
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert install("cursor", "--uninstall").returncode == 0
    assert path.read_bytes() == EXISTING.encode()


@pytest.mark.parametrize("words", [[], ["--uninstall"]])
def test_a_dry_run_prints_the_diff_and_changes_nothing(
    install: Install, words: list[str], tmp_path: Path
) -> None:
    path = configuration_path("vscode", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text('{"servers": {"snapshots": {"command": "old"}}}')
    ended = install("vscode", "--dry-run", *words)
    assert ended.returncode == 0
    assert "-" in ended.stdout
    assert "Nothing was changed" in ended.stdout
    assert [file.name for file in path.parent.iterdir()] == ["mcp.json"]
    assert path.read_text() == '{"servers": {"snapshots": {"command": "old"}}}'


def test_uninstall_without_a_configuration_creates_no_file(
    install: Install, tmp_path: Path
) -> None:
    ended = install("claude-desktop", "--uninstall")
    assert (ended.returncode, list(tmp_path.iterdir())) == (0, [])
    assert ended.stdout.startswith("Nothing to change")


def test_a_second_install_changes_nothing(install: Install, tmp_path: Path) -> None:
    install("claude-code")
    before = configuration_path("claude-code", tmp_path).stat().st_mtime_ns
    assert install("claude-code").stdout.startswith("Nothing to change")
    assert configuration_path("claude-code", tmp_path).stat().st_mtime_ns == before


def test_options_and_settings_are_written_to_the_entry(install: Install, tmp_path: Path) -> None:
    words = ["--read-only", "--tools", "review,core", "--consent", "human", "--name", "ours"]
    assert install("vscode", *words, "--env", "SNAPSHOT_MCP_API_KEY").returncode == 0
    written = read_entry("vscode", tmp_path, "ours")
    assert written["args"][-3:] == ["--tools", "core,review", "--read-only"]
    assert written["env"] == {
        "SNAPSHOT_MCP_API_KEY": "${env:SNAPSHOT_MCP_API_KEY}",
        "SNAPSHOT_MCP_CONSENT": "human",
    }


def test_a_key_is_written_only_if_given_and_never_printed(install: Install, tmp_path: Path) -> None:
    ended = install("claude-desktop", "--env", f"SNAPSHOT_MCP_API_KEY={KEY}")
    assert read_entry("claude-desktop", tmp_path)["env"] == {"SNAPSHOT_MCP_API_KEY": KEY}
    assert KEY not in ended.stdout + ended.stderr
    assert '"(hidden)"' in ended.stdout


def test_a_project_has_its_own_file(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert install("claude-code", "--project").returncode == 0
    assert json.loads((tmp_path / ".mcp.json").read_text())["mcpServers"]["snapshots"]
    refused = install("claude-desktop", "--project")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no project configuration" in refused.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "not an object"),
        (b'{"mcpServers": []}', "not an object"),
        (b"\xff\xfe{", "UnicodeDecodeError"),
    ],
)
def test_an_invalid_configuration_is_refused_and_left_unchanged(
    install: Install, text: bytes, message: str, tmp_path: Path
) -> None:
    path = configuration_path("cursor", tmp_path)
    path.parent.mkdir()
    path.write_bytes(text)
    ended = install("cursor")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert message in ended.stderr
    assert "Nothing was changed" in ended.stderr
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [
        ("mcp.json", text)
    ]


def test_a_byte_order_mark_is_kept(install: Install, tmp_path: Path) -> None:
    path = configuration_path("cursor", tmp_path)
    path.parent.mkdir()
    path.write_bytes(b'\xef\xbb\xbf{\r\n  "a": 1\r\n}')
    assert install("cursor").returncode == 0
    after = path.read_bytes()
    assert after.startswith(b'\xef\xbb\xbf{\r\n  "a": 1,\r\n  "mcpServers"')
    assert after.count(b"\n") == after.count(b"\r\n")


@pytest.mark.parametrize("words", [["emacs"], [], ["cursor", "--consent", "maybe"]])
def test_unknown_clients_and_values_are_refused(install: Install, words: list[str]) -> None:
    assert install(*words).returncode == 2


def test_an_unknown_toolset_is_refused_before_anything_is_written(
    install: Install, tmp_path: Path
) -> None:
    assert install("cursor", "--tools", "nonsense").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("{}")
    link.symlink_to(real)
    files.replace_configuration(link, "{}", '{"a": 1}', utc_now())
    assert link.is_symlink()
    assert real.read_text() == '{"a": 1}'


def test_a_file_that_another_program_changed_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("theirs")
    with pytest.raises(RefusedError, match="another program"):
        files.replace_configuration(path, "{}", "ours", utc_now())
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_unreadable_and_unwritable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError, match="cannot be written"):
        files.replace_configuration(tmp_path / "file" / "below", None, "ours", utc_now())
    with pytest.raises(RefusedError, match="cannot be read"):
        files.read_configuration(tmp_path)
