"""The operator's policy is obeyed: what it forbids is refused, whoever asks and agrees."""

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.rules.policy import PolicyViolation

APPROVE_IN_PANEL = (
    "Nothing was changed yet. The person sees this plan in the panel, and agrees there if they do:"
    " do not call again for it. What became of it is told there."
)
"""The next step after a plan where the client shows the panel and cannot ask."""


def enforce_policy(ruling: PolicyViolation | None) -> None:
    """Refuse what the policy forbids.

    Raises:
        RefusedError: there is a ruling.
    """
    if ruling is not None:
        raise RefusedError(
            f"{ruling.explanation} Rule: {ruling.rule}.",
            f"{NOTHING_CHANGED} No argument lifts a rule of the policy; the operator can.",
        )
