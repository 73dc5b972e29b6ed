"""`snapshot-mcp install` with keys: owner and mode of files, and what is printed and kept."""

import io
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from snapshot_mcp.cli.install.clients import CLIENTS, UserEnvironment
from tests.cli.install.test_install import configuration_path, read_entry, variables
from tests.processes.helpers import KEY

Install = Callable[..., CompletedProcess[str]]
NAME = "SNAPSHOT_MCP_API_KEY"
OTHERS = "0ther-s3cret"
CONFIGURATION = {
    "mcpServers": {
        "before": {"url": f"https://x/?q={OTHERS}", "env": {"PLAIN": OTHERS}},
        "snapshots": {"command": "old", "args": [OTHERS], "env": {"SOMETHING": OTHERS}},
        "after": {"command": OTHERS, "headers": {"X-Own": OTHERS}},
    }
}


@pytest.fixture
def install(command: Any, tmp_path: Path) -> Install:  # noqa: ANN401 - a fixture
    def run(*words: str, **settings: str) -> CompletedProcess[str]:
        return command("install", *words, env=variables(tmp_path) | settings)

    return run


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("words", ["", "--dry-run", "--uninstall", "--uninstall --dry-run"])
def test_nothing_of_given_values_and_other_entries_is_printed(
    install: Install, tmp_path: Path, words: str
) -> None:
    for indent in (None, 2):
        write(configuration_path("cursor", tmp_path), json.dumps(CONFIGURATION, indent=indent))
        given = ("SNAPSHOT_MCP_DATABASE_URL=postgresql://u:s3cret@db/x", "PLAIN=s3cret", "N=s3cret")
        ended = install("cursor", *words.split(), *(f"--env={value}" for value in given))
        assert ended.returncode == 0, ended.stderr
        printed = ended.stdout + ended.stderr
        for hidden in ("s3cret", OTHERS, "before", "X-Own"):
            assert hidden not in printed.replace("(before)", "")
        assert "(hidden)" in printed


@pytest.mark.parametrize(
    "words",
    [
        ["cursor", f"{NAME}=s3cret"],
        ["cursor", "--evn", f"{NAME}=s3cret"],
        ["cursor", f"--emv={NAME}=s3cret and s3cret"],
        ["cursor", "--env", f"{NAME}=a", "s3cret"],
        [f"{NAME}=s3cret"],
        ["cursor", "--consent", f"{NAME}=s3cret"],
        ["cursor", "--env", f"{NAME}X=s3cret"],
        ["cursor", "--env", "a b=s3cret"],
        ["claude-desktop", "--env", f"{NAME}=${{s3cret}}"],
    ],
)
def test_no_error_contains_a_value(install: Install, words: list[str]) -> None:
    ended = install(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr
    assert "s3cret" not in ended.stderr


def test_an_invalid_configuration_is_refused_without_its_content(
    install: Install, tmp_path: Path
) -> None:
    write(configuration_path("cursor", tmp_path), f'{{"mcpServers": {{"a": {OTHERS}')
    ended = install("cursor")
    assert ended.returncode == 1
    assert OTHERS not in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_a_file_with_a_key_and_all_its_backups_are_private(
    install: Install, tmp_path: Path
) -> None:
    path = write(configuration_path("claude-desktop", tmp_path), "{}")
    older = write(path.with_name(f"{path.name}.20250101T000000.backup"), "{}")
    assert install("claude-desktop", "--env", "SNAPSHOT_MCP_TIMEOUT=5").returncode == 0
    assert mode(path) == 0o644  # it contains no key
    ended = install("claude-desktop", "--env", f"{NAME}={KEY}")
    assert f"contains {NAME} in clear text" in ended.stderr
    assert "without a value" in ended.stderr
    backups = [file for file in path.parent.iterdir() if file != path]
    assert len(backups) == 3
    assert {mode(file) for file in (path, older, *backups)} == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_a_project_file_keeps_its_mode_and_a_warning_is_printed(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / ".mcp.json", "{}")
    ended = install("claude-code", "--project", "--env", f"{NAME}={KEY}")
    assert mode(path) == 0o644
    assert "Do not commit it" in ended.stderr
    assert f"chmod 600 {path}" in ended.stderr


def test_uninstall_removes_the_key_from_the_file_and_from_all_backups(
    install: Install, tmp_path: Path
) -> None:
    install("claude-desktop", "--env", f"{NAME}={KEY}")
    install("claude-desktop", "--env", f"{NAME}=rotated-{KEY}", "--env", "SNAPSHOT_MCP_TIMEOUT=5")
    install("claude-desktop")
    ended = install("claude-desktop", "--uninstall")
    assert ended.returncode == 0
    assert "remains" not in ended.stderr
    assert "removed from 2 older backups" in ended.stdout
    path = configuration_path("claude-desktop", tmp_path)
    texts = [file.read_text(encoding="utf-8") for file in path.parent.iterdir()]
    assert len(texts) == 4
    assert not any(KEY in text for text in texts)
    assert sum('"SNAPSHOT_MCP_TIMEOUT": "5"' in text for text in texts) == 1
    assert all(json.loads(text) is not None for text in texts)


def test_uninstall_reports_where_a_key_remains(install: Install, tmp_path: Path) -> None:
    path = configuration_path("cursor", tmp_path)
    other = json.dumps({"mcpServers": {"other": {"env": {NAME: KEY}}}})
    write(path, other)
    foreign = write(path.with_name(f"{path.name}.bak"), f"own copy of {KEY}")
    broken = write(path.with_name(f"{path.name}.1.backup"), f"{{ {KEY}")
    install("cursor", "--env", f"{NAME}={KEY}")
    ended = install("cursor", "--uninstall")
    assert KEY not in ended.stdout + ended.stderr
    for file in (path, foreign, broken):
        assert f"A key of this entry remains in {file}." in ended.stderr
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(other)


def test_a_second_uninstall_still_cleans_backups(install: Install, tmp_path: Path) -> None:
    path = configuration_path("cursor", tmp_path)
    entry = json.dumps({"mcpServers": {"snapshots": {"command": "x", "env": {NAME: KEY}}}})
    backup = write(path.with_name(f"{path.name}.20250101T000000.backup"), entry)
    dry = install("cursor", "--uninstall", "--dry-run")
    assert (dry.returncode, backup.read_text(encoding="utf-8")) == (0, entry)
    assert "1 older backups" in install("cursor", "--uninstall").stdout
    assert KEY not in backup.read_text(encoding="utf-8")


def test_the_value_of_a_name_is_read_from_the_environment(install: Install, tmp_path: Path) -> None:
    ended = install("claude-desktop", "--env", NAME, SNAPSHOT_MCP_API_KEY=KEY)
    assert ended.returncode == 0
    assert KEY not in ended.stdout + ended.stderr
    assert "history" not in ended.stderr
    assert read_entry("claude-desktop", tmp_path)["env"] == {NAME: KEY}


def test_the_value_of_a_name_is_read_from_a_pipe(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f'"{KEY}"\r\nsecond\n'))
    ended = install("claude-desktop", "--env", NAME, "--env", "B")
    assert ended.returncode == 0
    assert KEY not in ended.stdout + ended.stderr
    assert read_entry("claude-desktop", tmp_path)["env"] == {NAME: KEY, "B": "second"}


@pytest.mark.parametrize("text", ["", "\n", "$X\n", "<your key>"])
def test_a_missing_or_unresolved_value_from_a_pipe_is_refused(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    ended = install("claude-desktop", "--env", NAME)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert NAME in ended.stderr
    monkeypatch.setattr("sys.stdin", None)  # closed; the fixture undoes the first change
    assert install("claude-desktop", "--env", NAME).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_asks_for_no_value(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    ended = install("claude-desktop", "--env", NAME, "--dry-run")
    assert ended.returncode == 0
    assert f'"{NAME}": "(hidden)"' in ended.stdout
    assert list(tmp_path.iterdir()) == []


class FakeTerminal(io.StringIO):
    """A terminal on stdin."""

    def isatty(self) -> bool:
        return True


def test_a_person_at_a_terminal_is_asked_without_echo(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import getpass  # noqa: PLC0415 - only here
    import warnings  # noqa: PLC0415 - as above

    def answer(prompt: str, stream: object) -> str:
        assert NAME in prompt
        assert stream is not None
        return f" {KEY}\n"

    def echoes(prompt: str, stream: object) -> str:
        warnings.warn("can not control echo", getpass.GetPassWarning, stacklevel=1)
        return f"{prompt}{stream}"

    monkeypatch.setattr("sys.stdin", FakeTerminal())
    monkeypatch.setattr("getpass.getpass", answer)
    assert install("claude-desktop", "--env", NAME).returncode == 0
    assert read_entry("claude-desktop", tmp_path)["env"] == {NAME: KEY}
    monkeypatch.setattr("sys.stdin", FakeTerminal())  # the fixture undoes all changes
    monkeypatch.setattr("getpass.getpass", echoes)
    refused = install("claude-desktop", "--env", NAME)
    assert refused.returncode == 2
    assert "would show" in refused.stderr


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root gives files to others"
)
def test_root_keeps_the_owner_of_a_file_and_of_its_folder(install: Install, tmp_path: Path) -> None:
    path = write(configuration_path("cursor", tmp_path), "{}")
    os.chown(path, 12345, 23456)
    for words in ([], ["--read-only"], ["--uninstall"]):
        assert install("cursor", *words).returncode == 0
        assert {(file.stat().st_uid, file.stat().st_gid) for file in path.parent.iterdir()} == {
            (12345, 23456)
        }
    os.chown(tmp_path, 12345, 23456)
    assert install("vscode", "--env", f"{NAME}={KEY}").returncode == 0
    created = configuration_path("vscode", tmp_path)
    assert mode(created) == 0o600
    for new in (created, *created.relative_to(tmp_path).parents):
        assert (tmp_path / new).stat().st_uid == 12345


@pytest.mark.skipif(sys.platform == "win32", reason="owners are those of POSIX")
def test_a_file_whose_owner_cannot_be_kept_is_refused(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(configuration_path("cursor", tmp_path), "{}")

    def deny(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("snapshot_mcp.cli.install.files._copy_owner", deny)
    ended = install("cursor")
    assert (ended.returncode, path.read_text(encoding="utf-8")) == (1, "{}")
    assert "PermissionError" in ended.stderr
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("link", [".cursor", ".cursor/mcp.json"])
@pytest.mark.parametrize("words", [[], ["--uninstall"], ["--dry-run"]])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_that_leads_out_of_the_project_is_refused(
    install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    link: str,
    words: list[str],
    *,
    exists: bool,
) -> None:
    outside, project = tmp_path / "outside", tmp_path / "project"
    target = outside / "mcp.json" if link.endswith(".json") else outside
    (project / link).parent.mkdir(parents=True)
    outside.mkdir()
    content = f'{{"mcpServers": {{"snapshots": {{"command": "{OTHERS}"}}}}}}'
    if exists:
        (outside / "mcp.json").write_text(content)
    (project / link).symlink_to(target)
    monkeypatch.chdir(project)
    ended = install("cursor", "--project", *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "symbolic link" in ended.stderr
    assert OTHERS not in ended.stderr
    files = list(outside.iterdir())
    assert [file.read_text() for file in files] == ([content] if exists else [])


def test_a_link_within_the_project_is_followed_and_a_loop_is_refused(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared.json").write_text("{}")
    (tmp_path / ".mcp.json").symlink_to("shared.json")
    assert install("claude-code", "--project").returncode == 0
    assert "snapshots" in (tmp_path / "shared.json").read_text()
    (tmp_path / ".cursor").symlink_to(".cursor")
    monkeypatch.chdir(tmp_path)  # the fixture undoes the first change
    assert install("cursor", "--project").returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_in_place_of_a_file_is_refused(install: Install, tmp_path: Path) -> None:
    path = configuration_path("cursor", tmp_path)
    path.parent.mkdir()
    os.mkfifo(path)
    assert "it is not a file" in install("cursor").stderr


def test_a_packaged_application_keeps_the_servers_of_the_file_that_it_read_before(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snapshot_mcp.cli.install.command.sys.platform", "win32")
    package = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc"
    package.mkdir(parents=True)
    user = UserEnvironment("win32", tmp_path, tmp_path, variables(tmp_path))
    packaged, classic = CLIENTS["claude-desktop"].user_paths(user)
    text = json.dumps({"mcpServers": {"other": {"command": "x"}}})
    write(classic, text)
    settings = {"LOCALAPPDATA": str(package.parents[1])}
    ended = install("claude-desktop", "--env", f"{NAME}={KEY}", **settings)
    assert str(packaged) in ended.stdout
    servers = json.loads(packaged.read_text())["mcpServers"]
    assert servers.keys() == {"other", "snapshots"}
    assert classic.read_text() == text
    monkeypatch.setattr("snapshot_mcp.cli.install.command.sys.platform", "win32")
    install("claude-desktop", "--uninstall", **settings)
    assert json.loads(packaged.read_text()) == json.loads(text)
    assert KEY not in packaged.read_text()
