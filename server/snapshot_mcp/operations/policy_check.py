"""Enforcement of the operator's policy: what it forbids is refused, even with approval."""

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.rules.policy import Ruling


def enforce_policy(ruling: Ruling | None) -> None:
    """Refuse what the policy forbids.

    Raises:
        RefusedError: there is a ruling.
    """
    if ruling is not None:
        raise RefusedError(
            ruling.explanation,
            f"{NOTHING_CHANGED} No argument lifts a rule of the policy; the operator can.",
        )
