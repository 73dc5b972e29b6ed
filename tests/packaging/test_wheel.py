"""The wheel and the sdist, installed in empty environments and started by each client."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from snapshot_mcp import __version__
from snapshot_mcp.cli.install.clients import CLIENTS, UserEnvironment
from tests.packaging.helpers import (
    ROOT,
    UV,
    assert_server_works,
    build,
    git,
    home_variables,
    install,
    read_entry,
    run,
)

pytestmark = pytest.mark.packaging

STRAYS = {
    "server/snapshot_mcp/.env": "SNAPSHOT_MCP_API_KEY=a-stray-key",
    "server/snapshot_mcp/scratch.py": "KEY = 'a-stray-key'",
    "server/snapshot_mcp/stray.key": "a-stray-key",
    "prompts/draft.md~": "a-stray-key",
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def from_wheel(packages: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(packages[1], tmp_path_factory.mktemp("wheel"))


def configuration_path(client: str, home: Path) -> Path:
    return CLIENTS[client].user_path(
        UserEnvironment(sys.platform, home, home, home_variables(home))
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_starts_the_installed_wheel(
    from_wheel: Path, client: str, tmp_path: Path
) -> None:
    home = home_variables(tmp_path)
    assert "Restart" in run(from_wheel, "install", client, cwd=tmp_path, **home)
    command, variables = read_entry(configuration_path(client, tmp_path), CLIENTS[client].section)
    assert command == [str(from_wheel)]
    assert_server_works(command, tmp_path, **variables)
    run(from_wheel, "install", client, "--uninstall", cwd=tmp_path, **home)
    with pytest.raises(KeyError):
        read_entry(configuration_path(client, tmp_path), CLIENTS[client].section)


def test_the_commands_of_the_installed_wheel_run(from_wheel: Path, tmp_path: Path) -> None:
    assert run(from_wheel, "--version", cwd=tmp_path) == f"snapshot-mcp {__version__}\n"
    assert "ok" in run(from_wheel, "doctor", cwd=tmp_path)
    assert "training-box" in run(from_wheel, "call", "list_virtual_machines", cwd=tmp_path)
    assert "complete" in run(from_wheel, "completion", "bash", cwd=tmp_path)
    assert "Done" in run(from_wheel, "demo", cwd=tmp_path)


def test_the_sdist_can_be_installed(packages: tuple[Path, Path], tmp_path: Path) -> None:
    command = install(packages[0], tmp_path)
    assert_server_works([str(command)], tmp_path)


def test_a_client_configured_with_uvx_starts_the_wheel_with_uvx(
    packages: tuple[Path, Path], tmp_path: Path
) -> None:
    home = home_variables(tmp_path)
    uvx = Path(UV).with_name(Path(UV).name.replace("uv", "uvx"))
    python = ("--python", sys.executable)
    run(
        uvx,
        *python,
        "--from",
        packages[1],
        "snapshot-mcp",
        "install",
        "cursor",
        cwd=tmp_path,
        **home,
    )
    command, _ = read_entry(configuration_path("cursor", tmp_path), "mcpServers")
    assert command == [str(uvx), "--from", packages[1].as_uri(), "snapshot-mcp"]
    assert_server_works(command, tmp_path, UV_PYTHON=sys.executable, **home)


def test_pipx_installs_the_wheel(packages: tuple[Path, Path], tmp_path: Path) -> None:
    home = home_variables(tmp_path)
    pipx = (UV, "tool", "run", "--python", sys.executable, "pipx")
    run(*pipx, "install", packages[1], cwd=tmp_path, PIPX_HOME=str(tmp_path / "pipx"),
        PIPX_BIN_DIR=str(tmp_path / "bin"), **home)  # fmt: skip
    (command,) = (tmp_path / "bin").iterdir()
    assert_server_works([str(command)], tmp_path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a clean clone, with the tracked files as they are now, changed or not."""
    clone = tmp_path / "clone"
    for name in filter(None, git(ROOT, "ls-files", "-z").split("\0")):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    git(clone, "init", "--quiet")
    git(clone, "add", "--all")
    return clone


@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("kind", ["--wheel", "--sdist"])
def test_a_stray_file_stops_the_build(checkout: Path, stray: str, kind: str) -> None:
    (checkout / stray).write_text(STRAYS[stray], encoding="utf-8")
    ended = subprocess.run(
        (UV, "build", kind, "--out-dir", str(checkout.parent / "dist"), str(checkout)),
        capture_output=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert f"{stray} is not tracked by git" in ended.stdout + ended.stderr
    assert not list((checkout.parent / "dist").glob("snapshot_mcp*"))


def test_ignored_files_and_linked_folders_are_not_packaged(checkout: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.key").write_text("a-stray-key", encoding="utf-8")
    for folder in ("server/ui/node_modules/a", "tests/panel/host/node_modules/b"):
        (checkout / folder).mkdir(parents=True)
        (checkout / folder / "index.js").write_text("a-stray-key", encoding="utf-8")
    (checkout / "node_modules").symlink_to(outside)
    folder = tmp_path / "dist"
    run(UV, "build", "--quiet", "--out-dir", folder, checkout, cwd=tmp_path)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = {member.name.partition("/")[2] for member in archive if not member.isfile()}
        names = {member.name.partition("/")[2] for member in archive}
    assert packed == set()
    assert not [name for name in names if "node_modules" in name]
    tracked = git(checkout, "ls-files").splitlines()
    assert names - set(tracked) == {"PKG-INFO"}
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "node_modules" in name or ".key" in name]
