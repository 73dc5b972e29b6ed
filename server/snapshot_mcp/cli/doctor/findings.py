"""What `snapshot-mcp doctor` finds, and how it is told: one line each, or JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

FindingState = Literal["ok", "note", "bad"]
"""Fine; worth knowing; in the way of the server's work."""


class Finding(NamedTuple):
    """One thing that was looked at: its state, its name, and one sentence."""

    state: FindingState
    name: str
    text: str


def as_lines(findings: Iterable[Finding]) -> str:
    """One line each."""
    return "\n".join(f"{it.state:<4}  {it.name:<11}  {it.text}" for it in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """One JSON object: whether all is well, and the findings."""
    told = {"ok": is_well(findings), "findings": [it._asdict() for it in findings]}
    return json.dumps(told, indent=2)


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing is in the way."""
    return all(it.state != "bad" for it in findings)
