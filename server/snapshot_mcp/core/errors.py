"""The error tree. Every text in it is ours; a remote body is never part of one.

SnapshotMcpError
├── ConfigurationError      the settings do not let the server start
├── RefusedError            this server declined; nothing was sent
├── CloudError              the cloud did not do what was asked
│   ├── BadRequestError     it found the request wrong (400, 405, 406, 422)
│   ├── UnauthorizedError   it does not know the API key (401)
│   ├── ForbiddenError      the API key may not do this (403)
│   ├── NotFoundError       there is no such thing (404)
│   ├── ConflictError       the thing is busy or the name is taken (409)
│   ├── RateLimitedError    too many requests (429)
│   ├── UnavailableError    no usable answer, and nothing was changed
│   ├── OutcomeUnknownError a write was sent and its effect is not known
│   └── NotDoneError        a write was sent, and the cloud shows that it had no effect
├── ProtocolError           the cloud's answer does not fit its own API
└── LedgerError             the ledger cannot be written, so nothing was sent
"""

NOTHING_CHANGED = "Nothing was changed."
"""The sentence of every error after which nothing is different."""


class SnapshotMcpError(Exception):
    """What this project raises on purpose: a sentence for a person and what to do next.

    Args:
        message: what happened, and what was or was not changed.
        next_step: what the reader can do about it; may be empty.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step

    def __str__(self) -> str:
        return " ".join(part for part in (super().__str__(), self.next_step) if part)


class ConfigurationError(SnapshotMcpError):
    """The settings do not let the server start."""


class RefusedError(SnapshotMcpError):
    """This server declined; nothing was sent to the cloud."""


class CloudError(SnapshotMcpError):
    """The cloud did not do what was asked.

    Args:
        message: as in `SnapshotMcpError`.
        next_step: as in `SnapshotMcpError`.
        retry_after: seconds to wait before it may work; None when nobody knows.
        passing: nothing was changed, and it may well work in a moment.
    """

    def __init__(
        self,
        message: str,
        next_step: str = "",
        *,
        retry_after: float | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(message, next_step)
        self.retry_after = retry_after
        self.transient = transient


class BadRequestError(CloudError):
    """The cloud found the request wrong."""


class UnauthorizedError(CloudError):
    """The cloud does not know the API key."""


class ForbiddenError(CloudError):
    """The API key may not do this."""


class NotFoundError(CloudError):
    """There is no such thing, or it is gone."""


class ConflictError(CloudError):
    """The thing is busy, or its name is taken."""


class RateLimitedError(CloudError):
    """Too many requests in a minute."""


class UnavailableError(CloudError):
    """The cloud gave no usable answer, and nothing was changed."""


class OutcomeUnknownError(CloudError):
    """A write was sent and its effect is not known: it may or may not have happened.

    Args:
        message: as in `SnapshotMcpError`.
        next_step: as in `SnapshotMcpError`.
        may_still_happen: the cloud may be at it still, so that not seeing it proves nothing.
    """

    def __init__(
        self, message: str, next_step: str = "", *, may_complete_later: bool = True
    ) -> None:
        super().__init__(message, next_step)
        self.may_complete_later = may_complete_later


class NotDoneError(CloudError):
    """A write was sent, failed, and the cloud shows that it had no effect."""


class ProtocolError(SnapshotMcpError):
    """The cloud's answer does not fit its own API."""


class LedgerError(SnapshotMcpError):
    """The ledger cannot be written, so nothing was sent."""


def error_kind(error: BaseException) -> str:
    """Return the name of an error in ledger rows, metrics and log lines.

    Cloud errors have no suffix there, as in "Conflict" or "Unavailable": existing ledger rows and
    dashboards contain these names.
    """
    name = type(error).__name__
    is_subclass = isinstance(error, CloudError) and type(error) is not CloudError
    return name.removesuffix("Error") if is_subclass else name
