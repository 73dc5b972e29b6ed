"""What an answer of the cloud means: a success, or which error of ours."""

from collections.abc import Mapping
from typing import cast

from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    BadRequestError,
    CloudError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitedError,
    UnauthorizedError,
    UnavailableError,
)
from snapshot_mcp.core.sanitize import sanitize

_UNDECIDED_STATUSES = frozenset({408, 425})
_TRANSIENT_STATUSES = frozenset({502, 503, 504})
_MAY_COMPLETE_LATER_STATUSES = frozenset({408, 502, 504})
"""A gateway says these of a server behind it, which may go on."""


def error_from_response(  # noqa: PLR0911 - one line an answer
    status: int, body: object, subject: str, retry_after: float | None, *, is_write: bool
) -> Exception | None:
    """The typed error of an answer that is not a success; None for a success.

    A success is a 2xx status, a JSON body, and no `status: false` in it.

    Args:
        status: HTTP's.
        body: the JSON value; None when it is no JSON.
        subject: what the request was about, as it stands in an error.
        retry_after: seconds to wait, as the cloud says; None when it says nothing.
        is_write: whether the request could change something.
    """
    match status:
        case status if 200 <= status < 300:  # noqa: PLR2004 - the class of success
            return _error_in_success(body, subject)
        case 401:
            return UnauthorizedError(
                "The cloud does not accept the API key.",
                f"{NOTHING_CHANGED} Check SNAPSHOT_MCP_API_KEY and restart the server.",
            )
        case 403:
            return ForbiddenError(
                f"The API key may not do this ({subject}).",
                f"{NOTHING_CHANGED} Someone with rights to the cloud account can allow it.",
            )
        case 404:
            return _not_found_error(body, subject, is_write=is_write)
        case 409:
            return ConflictError(
                f"The cloud refused {subject}: it is busy, or the name is already taken.",
                NOTHING_CHANGED,
            )
        case 429:
            return RateLimitedError(
                "The cloud takes no more requests this minute.",
                f"{NOTHING_CHANGED} {_retry_advice(retry_after)}",
                retry_after=retry_after,
                transient=True,
            )
        case _:
            return _error_for_other_status(status, body, subject, retry_after, is_write=is_write)


def _error_for_other_status(
    status: int, body: object, subject: str, retry_after: float | None, *, is_write: bool
) -> Exception:
    match status:
        case status if 400 <= status < 500 and status not in _UNDECIDED_STATUSES:  # noqa: PLR2004 - the class of refusals
            return BadRequestError(
                f"The cloud refused {subject}: {_recognize_reason(body)}.", NOTHING_CHANGED
            )
        case status if is_write:
            return outcome_unknown_error(
                subject,
                f"it answered with status {status}",
                may_complete_later=status < 500 or status in _MAY_COMPLETE_LATER_STATUSES,  # noqa: PLR2004 - the class of the server's own failures
            )
        case status if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
            return ProtocolError(
                "The cloud's answer points to another address, which was not followed.",
                f"{NOTHING_CHANGED} Check the API address.",
            )
        case status:
            return UnavailableError(
                f"The cloud failed on {subject} (status {status}).",
                f"{NOTHING_CHANGED} {_retry_advice(retry_after)}",
                retry_after=retry_after,
                transient=status in _TRANSIENT_STATUSES,
            )


def _error_in_success(body: object, subject: str) -> Exception | None:
    if body is None:
        return ProtocolError(
            f"The cloud's answer for {subject} is not JSON.",
            "Check that the API address is the cloud's API and not a web page.",
        )
    if not isinstance(body, Mapping):
        return None
    status = cast("Mapping[str, object]", body).get("status")
    if status is None or reports_success(status):
        return None
    if status is False or (type(status) is int and status >= 400):  # noqa: PLR2004 - HTTP's classes
        reason = _recognize_reason(cast("object", body))
        return CloudError(
            f"The cloud says that it failed on {subject}: {reason}.",
            "Look at the current state before you try again.",
        )
    return ProtocolError(f"The cloud's answer for {subject} does not say whether it worked.")


def reports_success(status: object) -> bool:
    """Whether a body's `status` says that it worked.

    Source: `status` is true in the document, the integer 200 in the recorded replies.
    """
    if isinstance(status, bool):
        return status
    return isinstance(status, int) and 200 <= status < 300  # noqa: PLR2004 - HTTP's class of success


def _not_found_error(body: object, subject: str, *, is_write: bool) -> Exception:
    if not isinstance(body, Mapping):
        # A gateway's page: it says nothing about what the cloud has.
        if is_write:
            return outcome_unknown_error(
                subject, "the answer is not the cloud's", may_complete_later=False
            )
        return ProtocolError(
            f"The answer for {subject} (status 404) is not the cloud's.",
            f"{NOTHING_CHANGED} Check the API address, and what stands between.",
        )
    if is_write:
        sentence = f"The cloud refused {subject}: what it is about does not exist."
        return NotFoundError(sentence, NOTHING_CHANGED)
    if subject.startswith("the "):
        return NotFoundError(
            f"The cloud does not know the call for {subject}.",
            f"{NOTHING_CHANGED} Check the API address.",
        )
    return NotFoundError(f"The cloud has no {subject}.", NOTHING_CHANGED)


def outcome_unknown_error(
    subject: str, reason: str, *, may_complete_later: bool = True
) -> OutcomeUnknownError:
    """The error of a write whose effect nobody saw."""
    return OutcomeUnknownError(
        f"The request ({subject}) was sent but its outcome is not known: {reason}.",
        "It may or may not have happened. Look before you do anything else; do not repeat it.",
        may_complete_later=may_complete_later,
    )


_REASONS: Mapping[str, str] = {
    "currently being used to create a snapshot": "the VM is busy with a snapshot",
    "not ready to be": "the snapshot is not ready",
    "already has the image": "the snapshot has an image already",
    "does not exist": "there is no such thing",
    "already exist": "the name is already taken",
    "is being created": "it is still being created",
}


def _recognize_reason(body: object) -> str:
    """Why, in our words: what the cloud wrote is recognised, never relayed."""
    message = remote_message(body).lower()
    return next(
        (ours for theirs, ours in _REASONS.items() if theirs in message),
        "it does not accept the request as it is",
    )


def remote_message(body: object) -> str:
    """What the cloud wrote about a failure, cleaned; for the log alone."""
    message = cast("Mapping[str, object]", body).get("message") if isinstance(body, Mapping) else ""
    return sanitize(message).text if isinstance(message, str) else ""


def _retry_advice(retry_after: float | None) -> str:
    return "Try again in a moment." if retry_after is None else f"Try again in {retry_after:.0f} s."
