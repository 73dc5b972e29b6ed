"""The files that the packages contain, without packing them: those that git tracks."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.helpers import ROOT, git

PACKAGED = (
    "LICENSE",
    "README.md",
    "prompts/a.md",
    "server/snapshot_mcp/a.py",
    "server/snapshot_mcp/cli/b.py",
    "server/snapshot_mcp/py.typed",
)
UNPACKAGED = (
    "pyproject.toml",
    "constraints.txt",
    "server/ui/main.ts",
    "server/ui/node_modules/a/index.js",
    "server/snapshot_mcp/__pycache__/a.pyc",
    "server/snapshot_mcp/signing.key",
    "server/snapshot_mcp/.env",
    "server/snapshot_mcp/a.py~",
    "server/snapshot_mcp/node_modules/b/index.js",
    "prompts/.a.md.swp",
    ".env",
)


def load_script(name: str) -> Any:  # noqa: ANN401 - a module that is loaded by its path has no types
    """Load a script of packaging/, which is not a package."""
    spec: Any = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source tree with files that belong to the packages, and others."""
    root = tmp_path / "root"
    for name in PACKAGED + UNPACKAGED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def track(root: Path, *names: str) -> None:
    """Make a git checkout of `root` that tracks these files."""
    git(root, "init", "--quiet")
    git(root, "add", "--force", *names)


def bundled_files(root: Path, folder: Path) -> set[str]:
    load_script("bundle").copy_files(folder, root)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_outside_a_checkout_the_bundle_contains_only_files_that_run_the_server(
    root: Path, tmp_path: Path
) -> None:
    expected = {"manifest.json", "pyproject.toml", *PACKAGED}
    assert bundled_files(root, tmp_path / "bundle") == expected


def test_in_a_checkout_the_bundle_contains_only_tracked_files(root: Path, tmp_path: Path) -> None:
    track(root, *PACKAGED, *UNPACKAGED)
    (root / "server/snapshot_mcp/scratch.py").touch()
    (root / "prompts/draft.md").touch()
    expected = {"manifest.json", "pyproject.toml", *PACKAGED}
    assert bundled_files(root, tmp_path / "bundle") == expected


@pytest.mark.parametrize("tracked", [True, False])
def test_a_symbolic_link_is_not_bundled(root: Path, tmp_path: Path, *, tracked: bool) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a key", encoding="utf-8")
    (root / "prompts/a.md").unlink()
    (root / "prompts/a.md").symlink_to(secret)
    if tracked:
        track(root, *PACKAGED)
    with pytest.raises(SystemExit, match=r"prompts/a\.md is or is in a symbolic link"):
        bundled_files(root, tmp_path / "bundle")


def test_a_package_with_an_untracked_file_is_not_built(root: Path) -> None:
    track(root, *PACKAGED)
    check = load_script("tracked_files").reject_strangers
    check(root, [root / name for name in PACKAGED])
    with pytest.raises(SystemExit, match=r"signing\.key is not tracked by git"):
        check(root, [root / name for name in (*PACKAGED, "server/snapshot_mcp/signing.key")])


def test_a_file_behind_a_linked_folder_is_not_packaged(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.py").touch()
    (root / "server/snapshot_mcp/linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SystemExit, match=r"linked/c\.py is or is in a symbolic link"):
        load_script("tracked_files").reject_strangers(
            root, [root / "server/snapshot_mcp/linked/c.py"]
        )


def test_if_git_fails_nothing_is_built(root: Path) -> None:
    (root / ".git").write_text("gitdir: /nowhere", encoding="utf-8")
    with pytest.raises(SystemExit, match="Nothing was built"):
        load_script("tracked_files").source_files(root)


def test_the_bundle_contains_all_tracked_files_of_the_package_and_the_prompts() -> None:
    script = load_script("tracked_files")
    selected = set(script.source_files(ROOT))
    tracked = script.tracked_files(ROOT) or selected
    needed = {name for name in tracked if name.startswith(("server/snapshot_mcp/", "prompts/"))}
    assert selected == needed | {"LICENSE", "README.md"}


def test_the_pins_of_the_lowest_environment_are_the_development_tools() -> None:
    project = '[dependency-groups]\ndev = ["rs-bpe>=0.1", "coverage[toml]>=7.10,<8"]\n'
    constraints = "# a comment\nanyio==4.16.0\ncoverage==7.17.3\nrs_bpe==0.1.0\n"
    pins = load_script("lowest").development_pins(project, constraints)
    assert pins == ["coverage==7.17.3", "rs_bpe==0.1.0"]
