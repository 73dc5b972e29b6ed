"""The wheel and the sdist in empty environments: installed for each client, started, asked."""

import sys
from pathlib import Path

import pytest

from snapshot_mcp import __version__
from snapshot_mcp.cli.install.clients import CLIENTS, Machine
from tests.shipping.shipped import (
    UV,
    build,
    entry_in,
    home_of,
    installed,
    run,
    starts_and_lists_its_tools,
)

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def from_wheel(packages: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(packages[1], tmp_path_factory.mktemp("wheel"))


def file_of(client: str, home: Path) -> Path:
    return CLIENTS[client].yours(Machine(sys.platform, home, home, home_of(home)))


@pytest.mark.parametrize("client", CLIENTS)
def test_from_the_wheel_each_client_is_configured_and_starts_it(
    from_wheel: Path, client: str, tmp_path: Path
) -> None:
    home = home_of(tmp_path)
    assert "Restart" in run(from_wheel, "install", client, cwd=tmp_path, **home)
    command, variables = entry_in(file_of(client, tmp_path), CLIENTS[client].section)
    assert command == [str(from_wheel)]
    starts_and_lists_its_tools(command, tmp_path, **variables)
    run(from_wheel, "install", client, "--uninstall", cwd=tmp_path, **home)
    with pytest.raises(KeyError):
        entry_in(file_of(client, tmp_path), CLIENTS[client].section)


def test_the_commands_of_the_wheel_run(from_wheel: Path, tmp_path: Path) -> None:
    assert run(from_wheel, "--version", cwd=tmp_path) == f"snapshot-mcp {__version__}\n"
    assert "ok" in run(from_wheel, "doctor", cwd=tmp_path)
    assert "training-box" in run(from_wheel, "call", "list_virtual_machines", cwd=tmp_path)
    assert "complete" in run(from_wheel, "completion", "bash", cwd=tmp_path)
    assert "Done" in run(from_wheel, "demo", cwd=tmp_path)


def test_the_sdist_is_whole(packages: tuple[Path, Path], tmp_path: Path) -> None:
    command = installed(packages[0], tmp_path)
    starts_and_lists_its_tools([str(command)], tmp_path)


def test_uvx_runs_the_wheel_and_configures_a_client_to_do_so(
    packages: tuple[Path, Path], tmp_path: Path
) -> None:
    home = home_of(tmp_path)
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
    command, _ = entry_in(file_of("cursor", tmp_path), "mcpServers")
    assert command == [str(uvx), "--from", packages[1].as_uri(), "snapshot-mcp"]
    starts_and_lists_its_tools(command, tmp_path, UV_PYTHON=sys.executable, **home)


def test_pipx_installs_the_wheel(packages: tuple[Path, Path], tmp_path: Path) -> None:
    home = home_of(tmp_path)
    pipx = (UV, "tool", "run", "--python", sys.executable, "pipx")
    run(*pipx, "install", packages[1], cwd=tmp_path, PIPX_HOME=str(tmp_path / "pipx"),
        PIPX_BIN_DIR=str(tmp_path / "bin"), **home)  # fmt: skip
    (command,) = (tmp_path / "bin").iterdir()
    starts_and_lists_its_tools([str(command)], tmp_path)
