"""The files that packaging/bundle.py copies, without packing them."""

import importlib.util
from pathlib import Path
from typing import Any

from tests.packaging.helpers import ROOT


def load_bundle_script() -> Any:  # noqa: ANN401 - a module that is loaded by its path has no types
    """Load packaging/bundle.py, which is not part of a package."""
    spec: Any = importlib.util.spec_from_file_location("bundle", ROOT / "packaging" / "bundle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bundle_contains_no_node_modules_and_no_compiled_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kept = ["README.md", "LICENSE", "pyproject.toml", "constraints.txt", "prompts/a.md"]
    kept += ["server/a.py", "server/ui/main.ts"]
    ignored = ["server/ui/node_modules/a/index.js", "server/__pycache__/a.pyc"]
    for name in kept + ignored:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder = tmp_path / "bundle"
    load_bundle_script().copy_files(folder, root)
    copied = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert copied == {"manifest.json", *kept} - {"constraints.txt"}
