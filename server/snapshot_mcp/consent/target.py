"""The target of a plan as it is now: one snapshot, or a batch of snapshots."""

from typing import NamedTuple, Protocol

from snapshot_mcp.consent.plan_tokens import digest
from snapshot_mcp.consent.question import build_question, plan_facts
from snapshot_mcp.models.cloud import Snapshot
from snapshot_mcp.models.snapshots import BlastRadius


class ApprovalSubject(Protocol):
    """The facts about the target of a plan that the gate uses."""

    @property
    def state(self) -> str:
        """Digest of everything that must not change between plan and commit."""
        ...

    @property
    def confirm_with(self) -> str:
        """The confirmation words."""
        ...

    @property
    def question(self) -> str:
        """The question to the person; the same in every round of one call."""
        ...

    @property
    def summary(self) -> str:
        """The facts and the warnings of the plan, in one line for the ledger."""
        ...


class Target(NamedTuple):
    """One snapshot that is about to be deleted or restored.

    Attributes:
        state: digest of everything that must not change between plan and commit.
        confirm_with: the confirmation words.
        radius: what the write would affect.
    """

    state: str
    confirm_with: str
    radius: BlastRadius

    @property
    def question(self) -> str:
        """The question to the person."""
        return build_question(self.radius, self.confirm_with)

    @property
    def summary(self) -> str:
        """The facts and the warnings of the plan, in one line for the ledger."""
        return "; ".join([*plan_facts(self.radius), *self.radius.warnings])


class BatchTarget(NamedTuple):
    """Snapshots that one plan deletes; attributes as in `ApprovalSubject`."""

    state: str
    confirm_with: str
    question: str
    summary: str


def snapshot_target(snapshot: Snapshot, radius: BlastRadius) -> Target:
    """Return the target of a plan for one snapshot.

    The confirmation words are the name of the snapshot, or its id if the name is not plain text.
    """
    words = snapshot.name if snapshot.name_is_plain else str(snapshot.id)
    return Target(_state_digest(snapshot, radius), words, radius)


def _state_digest(snapshot: Snapshot, radius: BlastRadius) -> str:
    # The blast radius is part of the state, because the deletion of a sibling can make an unchanged
    # snapshot the last copy of its VM. The age is left out, because it always changes.
    radius_facts = radius.model_dump(mode="json", exclude={"age_days"})
    return digest([radius_facts, snapshot.status, str(snapshot.updated_at), snapshot.altered])
