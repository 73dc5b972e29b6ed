"""The error tree. All messages are written by this project; remote bodies are never relayed.

SnapshotMcpError
├── ConfigurationError       the settings are invalid, so the server does not start
├── RefusedError             this server refused the request; nothing was sent
│   └── TargetChangedError   the facts of the approved plan have changed
├── CloudError               the cloud did not do what was requested
│   ├── BadRequestError      it rejected the request (400, 405, 406, 422)
│   ├── UnauthorizedError    it rejected the API key (401)
│   ├── ForbiddenError       the API key lacks the permission (403)
│   ├── NotFoundError        the object does not exist (404)
│   ├── ConflictError        the object is busy or in use, or its name is taken (409)
│   ├── RateLimitedError     too many requests per minute (429)
│   ├── UnavailableError     no usable answer; nothing was changed
│   ├── OutcomeUnknownError  a write was sent; whether it took effect is unknown
│   ├── NotAcceptedError     a write was not accepted, and is not allowed or approved any more
│   └── NotDoneError         a write was sent and failed; the cloud shows no effect
├── ProtocolError            the cloud's answer does not match its API
│   └── AnswerTooLargeError  it exceeds the size limit, so it was not read
└── LedgerError              the ledger cannot be written; nothing was sent
"""

NOTHING_CHANGED = "Nothing was changed."
"""Ends the first part of every error after which the cloud is unchanged."""


class SnapshotMcpError(Exception):
    """Base class of the errors that this project raises on purpose.

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
    """The settings are invalid, so the server does not start."""


class RefusedError(SnapshotMcpError):
    """This server refused the request; nothing was sent to the cloud."""


class TargetChangedError(RefusedError):
    """The facts that a person approved have changed since the plan was made."""


class CloudError(SnapshotMcpError):
    """The cloud did not do what was requested.

    Args:
        message: as in `SnapshotMcpError`.
        next_step: as in `SnapshotMcpError`.
        retry_after: seconds to wait before a retry, if known.
        transient: nothing was changed, and a retry is likely to work.
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
    """The cloud rejected the request."""


class UnauthorizedError(CloudError):
    """The cloud rejected the API key."""


class ForbiddenError(CloudError):
    """The API key lacks the permission."""


class NotFoundError(CloudError):
    """The object does not exist, or no longer exists."""


class ConflictError(CloudError):
    """The object is busy or in use, or its name is taken."""


class RateLimitedError(CloudError):
    """Too many requests were sent in a minute."""


class UnavailableError(CloudError):
    """The cloud gave no usable answer, and nothing was changed.

    Args:
        message: as in `SnapshotMcpError`.
        next_step: as in `SnapshotMcpError`.
        retry_after: as in `CloudError`.
        transient: as in `CloudError`.
        answered: the cloud answered, but with a failure of its own.
    """

    def __init__(
        self,
        message: str,
        next_step: str = "",
        *,
        retry_after: float | None = None,
        transient: bool = False,
        answered: bool = False,
    ) -> None:
        super().__init__(message, next_step, retry_after=retry_after, transient=transient)
        self.answered = answered


class OutcomeUnknownError(CloudError):
    """A write was sent, and whether it took effect is unknown.

    Args:
        message: as in `SnapshotMcpError`.
        next_step: as in `SnapshotMcpError`.
        may_complete_later: the cloud may still be processing the write, so not seeing its effect
            proves nothing.
        effect_visible: the cloud shows the effect, but another request may have caused it.
    """

    def __init__(
        self,
        message: str,
        next_step: str = "",
        *,
        may_complete_later: bool = True,
        effect_visible: bool = False,
    ) -> None:
        super().__init__(message, next_step)
        self.may_complete_later = may_complete_later
        self.effect_visible = effect_visible


class NotAcceptedError(CloudError):
    """The cloud did not accept a write, and meanwhile a rule or a changed fact forbids it."""


class NotDoneError(CloudError):
    """A write was sent and failed, and the cloud shows that it had no effect."""


class ProtocolError(SnapshotMcpError):
    """The cloud's answer does not match its API."""


class AnswerTooLargeError(ProtocolError):
    """The cloud's answer exceeds the size limit, so it was not read."""


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
