"""Helpers that build the packages, install them in empty environments and start the server."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.processes.helpers import TOOLS, environment, stdio_server

ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv"))
SCRIPTS = "Scripts" if sys.platform == "win32" else "bin"
TIMEOUT_SECONDS = 300


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a command that must succeed, outside the source tree, and return its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(cwd / "data", **variables),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(root: Path, *words: str) -> str:
    """Run git in `root`, and return its output."""
    command = ["git", "-C", str(root), *words]
    return subprocess.run(
        command, capture_output=True, check=True, encoding="utf-8", timeout=TIMEOUT_SECONDS
    ).stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist."""
    run(UV, "build", "--quiet", "--out-dir", folder / "dist", ROOT, cwd=folder)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return sdist, wheel


def install(package: Path, folder: Path) -> Path:
    """Install `package` in an empty environment and return the path of its command."""
    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / SCRIPTS / "python"
    pins = ("--constraint", ROOT / "constraints.txt")
    run(UV, "pip", "install", "--quiet", "--python", python, *pins, package, cwd=folder)
    return folder / "venv" / SCRIPTS / "snapshot-mcp"


def assert_server_works(command: Sequence[str], folder: Path, **variables: str) -> None:
    """Start the server as a client does and call a tool."""
    with stdio_server(folder / "data", command=command, **variables) as server:
        assert server.initialize()["serverInfo"]["name"] == "snapshot-mcp"
        assert set(server.list_tools()) == TOOLS
        assert server.call_tool("list_snapshots")["total"] > 0
        assert server.close_stdin() == 0


def read_entry(path: Path, section: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of our entry in a client's configuration."""
    entry = json.loads(path.read_text(encoding="utf-8"))[section]["snapshots"]
    return [entry["command"], *entry.get("args", [])], entry.get("env", {})


def home_variables(folder: Path) -> dict[str, str]:
    """Return environment variables with `folder` as the home folder."""
    uv_cache = run(UV, "cache", "dir", cwd=folder).strip()
    return {
        "HOME": str(folder),
        "USERPROFILE": str(folder),
        "APPDATA": str(folder / "AppData" / "Roaming"),
        "XDG_CONFIG_HOME": "",
        "CLAUDE_CONFIG_DIR": "",
        "UV_CACHE_DIR": uv_cache,
        "PATH": os.pathsep.join([str(Path(UV).parent), os.environ["PATH"]]),
    }
