"""Findings of `snapshot-mcp doctor` and their two output formats: lines and JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

FindingState = Literal["ok", "note", "bad"]
"""Works; worth knowing; prevents the server from working."""


class Finding(NamedTuple):
    """One result of a check.

    Attributes:
        state: whether it works.
        name: the subject, such as "ledger".
        text: the result, without a full stop.
    """

    state: FindingState
    name: str
    text: str


def as_lines(findings: Iterable[Finding]) -> str:
    """Return one line per finding."""
    return "\n".join(
        f"{finding.state:<4}  {finding.name:<11}  {finding.text}" for finding in findings
    )


def as_json(findings: Sequence[Finding]) -> str:
    """Return one JSON object with the findings and whether none of them is bad."""
    document = {
        "ok": is_healthy(findings),
        "findings": [finding._asdict() for finding in findings],
    }
    return json.dumps(document, indent=2)


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Return whether no finding is bad."""
    return all(finding.state != "bad" for finding in findings)
