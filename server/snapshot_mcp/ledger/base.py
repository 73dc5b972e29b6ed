"""What every ledger promises, wherever it keeps its rows, and the refusals that all share."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol

from snapshot_mcp.core.errors import RefusedError
from snapshot_mcp.ledger.chain import Attempt, Event, RateLimit, Row

_SPANS: dict[float, str] = {60: "a minute", 3_600: "an hour", 86_400: "a day"}


class Ledger(Protocol):
    """A ledger: append-only, each attempt sent once, the rows in one chain.

    Every call raises LedgerError where the rows cannot be read or written.
    """

    def was_sent(self, attempt_id: str) -> Awaitable[bool]:
        """Whether an attempt with this id was ever sent."""
        ...

    def sent_within(self, tool: str, seconds: float) -> Awaitable[int]:
        """How many attempts of `tool` were sent in the last `seconds`."""
        ...

    def record(
        self, event: Event, attempt: Attempt, reason: str = "", *, at_most: RateLimit | None = None
    ) -> Awaitable[None]:
        """Append one row, durably.

        Args:
            event: what happened, or is about to.
            attempt: the attempt that it happens to.
            reason: why.
            at_most: how many attempts of this tool may be sent; looked at for "sent" alone.

        Raises:
            RefusedError: the event is "sent", and this attempt was sent before, or as many as
                `at_most` allows were sent already.
        """
        ...

    def rows(
        self,
        *,
        tool: str = "",
        event: str = "",
        attempt: str = "",
        since: datetime | None = None,
        limit: int = 0,
    ) -> Awaitable[list[Row]]:
        """The rows that fit every condition given, newest last; the newest `limit` of them."""
        ...

    def unsettled(self) -> Awaitable[list[Row]]:
        """Rows of attempts that were sent by a process that ended before it saw what they did."""
        ...

    def settle(self, row: Row, event: Event, reason: str) -> Awaitable[None]:
        """Append how an attempt of a process that is gone ended, unless that is told by now.

        Of several who settle it at once one does; nobody does while its process is alive.

        Args:
            row: of its sending, as `unsettled` told it.
            event: how it ended.
            reason: what shows it.
        """
        ...

    def verify(self) -> Awaitable[list[str]]:
        """What shows that the ledger was changed behind its back; nothing is written."""
        ...

    def close(self) -> None:
        """Tell the other processes that this one sends nothing any more."""
        ...


def already_used_error() -> RefusedError:
    """A plan that was sent before is not sent again."""
    return RefusedError(
        "This plan was already used; a plan can be used once.",
        "Nothing was sent now. Look at the current state first.",
    )


def rate_limit_error(at_most: RateLimit) -> RefusedError:
    """As many as the operator allows were sent already."""
    span = _SPANS.get(at_most.seconds, f"{at_most.seconds:g} seconds")
    return RefusedError(
        f"The operator allows at most {at_most.events} of these in {span}; that many were sent"
        " already.",
        "Nothing was sent now. Tell the person; it can be done later.",
    )
