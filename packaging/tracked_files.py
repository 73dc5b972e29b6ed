"""The files that packages may contain: those that git tracks, and no symbolic links.

Outside a git checkout, for example in an unpacked sdist, the kinds of files decide.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

SOURCES = (
    "LICENSE",
    "README.md",
    "prompts/*.md",
    "server/snapshot_mcp/**/*.py",
    "server/snapshot_mcp/mcp_server/panel/panel.html",
    "server/snapshot_mcp/py.typed",
)
"""The files that the server needs at run time, as patterns relative to the root."""


def tracked_files(root: Path) -> frozenset[str] | None:
    """Return the files that git tracks, relative to `root`; None if it is not a git checkout.

    Raises:
        SystemExit: git is missing or fails, so nothing is known about the files.
    """
    if not (root / ".git").exists():
        return None
    command = ("git", "-C", str(root), "ls-files", "-z")
    try:
        listed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        raise SystemExit(
            f"git could not list the tracked files: {reason.strip()}. Nothing was built."
            " Fix this, or build from the sdist."
        ) from error
    return frozenset(filter(None, listed.split("\0")))


def source_files(root: Path) -> list[str]:
    """Return the files that the server needs at run time, relative to `root`.

    Raises:
        SystemExit: one of them is a symbolic link, or git fails.
    """
    tracked = tracked_files(root)
    found = sorted(
        path.relative_to(root).as_posix() for pattern in SOURCES for path in root.glob(pattern)
    )
    selected = [name for name in found if tracked is None or name in tracked]
    reject_strangers(root, [root / name for name in selected])
    return selected


def reject_strangers(root: Path, paths: Iterable[Path]) -> None:
    """Check that a package with these files contains only regular files that git tracks.

    Raises:
        SystemExit: names the files that must not be packaged.
    """
    tracked = tracked_files(root)
    names = {path: path.relative_to(root).as_posix() for path in paths}
    problems = [
        f"{name} is or is in a symbolic link"
        for path, name in names.items()
        if path.is_symlink() or path.resolve() != root.resolve() / name
    ]
    problems += [
        f"{name} is not tracked by git"
        for name in names.values()
        if tracked is not None and name not in tracked
    ]
    if problems:
        raise SystemExit(
            f"Nothing was built: {'; '.join(sorted(problems))}."
            " Commit the files that belong to the package, and move the others elsewhere."
        )
