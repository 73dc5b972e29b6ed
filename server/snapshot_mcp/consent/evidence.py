"""What shows that somebody agreed: the levels of evidence, and the person who may be asked."""

from typing import Literal, NamedTuple, Protocol

Evidence = Literal["arguments", "person", "panel"]
"""From weak to strong.

- arguments: the plan's token and words came with the call; a model can give both by itself.
- person: a person was asked through the client, and typed the words.
- panel: a person agreed with their own hand in the panel.
"""


class ApprovalAnswer(NamedTuple):
    """What came back from a person.

    Attributes:
        action: what they did; "timeout" and "failed" mean that no answer could be had.
        words: what they typed.
    """

    action: Literal["accept", "decline", "cancel", "timeout", "failed"]
    words: str = ""


class Approver(Protocol):
    """The person behind a client, as far as the client lets them be reached."""

    @property
    def can_be_asked(self) -> bool:
        """Whether the client declared that it can ask a person."""
        ...

    @property
    def has_panel(self) -> bool:
        """Whether the client declared that it shows panels beside its calls."""
        ...

    @property
    def panel_nonce(self) -> str | None:
        """What the panel knows of the plan that it commits; None where the model calls."""
        ...

    @property
    def client(self) -> str:
        """The client's name, as it says; empty when it does not."""
        ...

    def has_answered(self, question: str) -> bool:
        """Whether the answer to this very question came with the call."""
        ...

    async def ask(self, question: str) -> ApprovalAnswer:
        """Ask, or take the answer that came with the call; never raises for a missing answer."""
        ...


def approves_in_panel(person: Approver) -> bool:
    """Whether the panel is where this person agrees: there is one, and they cannot be asked."""
    return person.has_panel and not person.can_be_asked
