"""What somebody is asked to agree to, as it is now: one snapshot, or a batch of them."""

from typing import NamedTuple, Protocol

from snapshot_mcp.consent.plan_tokens import digest
from snapshot_mcp.consent.question import facts, question
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.snapshots import BlastRadius


class ApprovalSubject(Protocol):
    """What the gate needs to know of it."""

    @property
    def state(self) -> str:
        """Digest of what a plan depends on."""
        ...

    @property
    def confirm_with(self) -> str:
        """The words of consent."""
        ...

    @property
    def question(self) -> str:
        """What a person is asked; the same in every round."""
        ...

    @property
    def summary(self) -> str:
        """What would be touched, in one line for the ledger."""
        ...


class Target(NamedTuple):
    """The target of a destructive action, as it is now.

    Attributes:
        state: digest of what a plan depends on.
        confirm_with: the words of consent.
        radius: what the action would touch.
    """

    state: str
    confirm_with: str
    radius: BlastRadius

    @property
    def question(self) -> str:
        """What a person is asked."""
        return question(self.radius, self.confirm_with)

    @property
    def summary(self) -> str:
        """What would be touched, in one line for the ledger."""
        return "; ".join([*facts(self.radius), *self.radius.warnings])


class BatchTarget(NamedTuple):
    """Many targets that are agreed to at once; attributes as in `Agreeable`."""

    state: str
    confirm_with: str
    question: str
    summary: str


def target_state(snapshot: Snapshot, radius: BlastRadius) -> str:
    """Digest of what a plan depends on: if it differs, the plan is void.

    The blast radius is part of it, because the deletion of a sibling makes an unchanged snapshot
    the last of its VM. Its age is not.
    """
    told = radius.model_dump(mode="json", exclude={"age_days"})
    return digest([told, snapshot.status, str(snapshot.updated_at), snapshot.altered])
