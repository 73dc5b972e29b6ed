"""The printed difference between two versions of a configuration, without secrets."""

import re
from collections.abc import Iterator
from difflib import unified_diff

_SECRET = re.compile(
    r'("[^"]*(?:key|token|secret|passw|auth|credential)[^"]*"\s*:\s*)"(?!\$\{)(?:\\.|[^"\\])+"',
    re.IGNORECASE,
)
_MAX_LINE_LENGTH = 300


def masked_diff(before: str, after: str, name: str) -> str:
    """Return a unified diff with secrets hidden and long lines truncated."""
    lines = unified_diff(
        before.splitlines(), after.splitlines(), f"{name} (before)", f"{name} (after)", lineterm=""
    )
    return "\n".join(_mask(lines))


def _mask(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        hidden = _SECRET.sub(r'\1"(hidden)"', line)
        cut = hidden if len(hidden) <= _MAX_LINE_LENGTH else hidden[: _MAX_LINE_LENGTH - 1] + "…"
        yield "".join(char if char.isprintable() or char == "\t" else "?" for char in cut)
