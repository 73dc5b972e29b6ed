"""Toolsnaps: one file for each definition that clients see, so that no change goes unnoticed."""

import json
import os
from pathlib import Path

TOOLSNAPS = Path(__file__).parents[1] / "toolsnaps"


def assert_matches_toolsnap(name: str, definition: object) -> None:
    """Compare a definition with the file of this name; UPDATE_TOOLSNAPS=1 rewrites the file."""
    path = TOOLSNAPS / f"{name}.json"
    text = json.dumps(definition, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_TOOLSNAPS"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{name} changed; UPDATE_TOOLSNAPS=1 if meant"
