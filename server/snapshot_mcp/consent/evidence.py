"""Evidence: what shows that a person approved a plan, and the interface to that person."""

from typing import Literal, NamedTuple, Protocol

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError

Evidence = Literal["arguments", "person", "panel"]
"""The levels of evidence, weakest first.

- arguments: the plan token and the words came with the call; a model can supply both by itself.
- person: the client reports that a person was asked and typed the words.
- panel: the words came with the nonce that only the panel receives.
"""


class Question(NamedTuple):
    """A question to a person.

    Attributes:
        text: its text.
        identity: equal in every round of one call, although details of the text that change all
            the time, such as a price, may differ. An answer counts for this identity only.
    """

    text: str
    identity: str


class ApprovalAnswer(NamedTuple):
    """The answer of a person.

    Attributes:
        action: what the person did; "timeout" and "failed" mean that there is no answer.
        words: what they typed.
    """

    action: Literal["accept", "decline", "cancel", "timeout", "failed"]
    words: str = ""


class Approver(Protocol):
    """The person behind a client, as far as the client lets the server reach them."""

    @property
    def can_be_asked(self) -> bool:
        """Whether the client declared that it can ask a person."""
        ...

    @property
    def has_panel(self) -> bool:
        """Whether the client declared that it shows panels."""
        ...

    @property
    def panel_nonce(self) -> str | None:
        """The nonce of the plan that the panel commits; None if the model makes the call."""
        ...

    @property
    def client(self) -> str:
        """The name of the client program, as it calls itself; may be empty."""
        ...

    def has_answered(self, question: Question) -> bool:
        """Return whether the answer to this question came with the call."""
        ...

    async def ask(self, question: Question) -> ApprovalAnswer:
        """Ask the question, or return the answer that came with the call.

        The `action` of the answer says whether there is none; this is not an error.
        """
        ...


def approves_in_panel(approver: Approver) -> bool:
    """Return whether this person can approve only in the panel: the client cannot ask them."""
    return approver.has_panel and not approver.can_be_asked


def require_agreement(answer: ApprovalAnswer, confirm_with: str) -> None:
    """Check that a person typed the confirmation words.

    Raises:
        RefusedError: the person did not, or could not be asked.
    """
    next_step = f"{NOTHING_CHANGED} Do not ask again unless the person wants it."
    match answer:
        case ApprovalAnswer("accept", words) if words == confirm_with:
            return
        case ApprovalAnswer("accept"):
            raise RefusedError(
                "The client was asked, and its answer has typed words other than the plan's.",
                next_step,
            )
        case ApprovalAnswer("decline"):
            raise RefusedError("The client was asked and declined.", next_step)
        case ApprovalAnswer("cancel"):
            raise RefusedError("The client was asked and dismissed the question.", next_step)
        case ApprovalAnswer("timeout"):
            raise RefusedError("The client was asked and did not answer in time.", next_step)
        case _:
            raise RefusedError(
                "The person could not be asked: the client failed.",
                f"{NOTHING_CHANGED} This server does not continue without a person's answer.",
            )
