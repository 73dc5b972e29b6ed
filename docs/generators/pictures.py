"""Draws the pictures of the documentation: what real commands print, on a fresh embedded cloud.

`make pictures` runs it. Nothing in them is drawn by hand.
"""

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parents[1] / "pictures"
WIDTH = 120
PICTURES = {
    "call": "call list_snapshots order=largest limit=6",
    "plan": "call delete_snapshot snapshot_id=1730",
    "doctor": "doctor",
    "install": "install cursor --read-only --dry-run",
}
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_DATA = "/home/you/.local/share/snapshot-mcp"


def main() -> int:
    """Draw them all."""
    with tempfile.TemporaryDirectory() as folder:
        for name, words in PICTURES.items():
            (FOLDER / f"{name}.svg").write_text(
                drawn(name, words, Path(folder)), encoding="utf-8", newline="\n"
            )
    return 0


def drawn(name: str, words: str, folder: Path) -> str:
    """The picture of one command, in SVG."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ snapshot-mcp {words}", style="bold"))
    console.print(Text.from_ansi(printed(words, folder)))
    svg = console.export_svg(title="snapshot-mcp", unique_id=name)
    # The fonts would be fetched from elsewhere; whoever looks has one of their own.
    return _FONTS.sub("", svg)


def printed(words: str, folder: Path) -> str:
    """What the command prints, with the folders of anybody in place of ours."""
    kept = {name: it for name, it in os.environ.items() if not name.startswith("SNAPSHOT_MCP_")}
    home = {"HOME": str(folder), "SNAPSHOT_MCP_DATA_DIR": str(folder / "data")}
    colours = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "snapshot_mcp", *words.split()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=kept | home | colours,
        check=False,
    )
    scripts = str(Path(sys.executable).parent)
    shown = done.stdout.replace(str(folder / "data"), _DATA).replace(str(folder), "/home/you")
    return shown.replace(scripts, "/home/you/.local/bin")


if __name__ == "__main__":
    sys.exit(main())
