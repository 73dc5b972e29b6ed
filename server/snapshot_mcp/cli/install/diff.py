"""What a change of a configuration does, as people see it: without the secrets that stand there."""

import re
from collections.abc import Iterator
from difflib import unified_diff

_SECRET = re.compile(
    r'("[^"]*(?:key|token|secret|passw|auth|credential)[^"]*"\s*:\s*)"(?!\$\{)(?:\\.|[^"\\])+"',
    re.IGNORECASE,
)
_MAX_LINE_LENGTH = 300


def masked_diff(before: str, after: str, name: str) -> str:
    """A unified difference, whose secrets are hidden and whose lines are cut."""
    lines = unified_diff(
        before.splitlines(), after.splitlines(), f"{name} (now)", f"{name} (then)", lineterm=""
    )
    return "\n".join(_shown(lines))


def _shown(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        hidden = _SECRET.sub(r'\1"(hidden)"', line)
        cut = hidden if len(hidden) <= _MAX_LINE_LENGTH else hidden[: _MAX_LINE_LENGTH - 1] + "…"
        yield "".join(it if it.isprintable() or it == "\t" else "?" for it in cut)
