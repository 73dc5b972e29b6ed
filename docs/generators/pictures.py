"""Draw the pictures of the documentation: the output of commands on a new embedded cloud.

`make pictures` runs this module.
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
    """Draw all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        for name, words in PICTURES.items():
            (FOLDER / f"{name}.svg").write_text(
                draw(name, words, Path(folder)), encoding="utf-8", newline="\n"
            )
    return 0


def draw(name: str, words: str, folder: Path) -> str:
    """Return the picture of one command as SVG."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ snapshot-mcp {words}", style="bold"))
    console.print(Text.from_ansi(run(words, folder)))
    svg = console.export_svg(title="snapshot-mcp", unique_id=name)
    # The fonts would be downloaded from another site; viewers have a monospace font.
    return _FONTS.sub("", svg)


def run(words: str, folder: Path) -> str:
    """Return the output of a command, with neutral paths instead of those of this machine."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("SNAPSHOT_MCP_")
    }
    home = {"HOME": str(folder), "SNAPSHOT_MCP_DATA_DIR": str(folder / "data")}
    colours = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    result = subprocess.run(
        [sys.executable, "-m", "snapshot_mcp", *words.split()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=inherited | home | colours,
        check=False,
    )
    scripts = str(Path(sys.executable).parent)
    output = result.stdout.replace(str(folder / "data"), _DATA).replace(str(folder), "/home/you")
    return output.replace(scripts, "/home/you/.local/bin")


if __name__ == "__main__":
    sys.exit(main())
