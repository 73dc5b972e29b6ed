"""Enforcement of the operator's policy: what it forbids is refused, even with approval."""

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.rules.policy import PolicyViolation


def enforce_policy(violation: PolicyViolation | None) -> None:
    """Refuse what the policy forbids.

    Raises:
        RefusedError: there is a violation.
    """
    if violation is not None:
        raise RefusedError(
            violation.message,
            f"{NOTHING_CHANGED} No argument overrides the policy; only the operator can change it.",
        )
