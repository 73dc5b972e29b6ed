"""Map the cloud's answers to typed errors."""

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
"""Refusals after which it is unknown whether the request was processed."""

_TRANSIENT_STATUSES = frozenset({502, 503, 504})
_MAY_COMPLETE_LATER_STATUSES = frozenset({408, 502, 504})
"""A gateway sends these for a server behind it, which may still process the request."""


def error_from_response(  # noqa: PLR0911 - one return per status
    status: int, body: object, subject: str, retry_after: float | None, *, is_write: bool
) -> Exception | None:
    """Return the typed error of an answer; None for a success.

    A success has a 2xx status and a JSON body without `status: false`.

    Args:
        status: the HTTP status.
        body: the JSON value; None if the body is not JSON.
        subject: what the request was about, for error messages.
        retry_after: seconds to wait according to the cloud, if it says so.
        is_write: whether the request could change something.
    """
    match status:
        case status if 200 <= status < 300:  # noqa: PLR2004 - the class of success
            return _error_in_success(body, subject)
        case 401:
            return UnauthorizedError(
                "The cloud rejected the API key.",
                f"{NOTHING_CHANGED} Check SNAPSHOT_MCP_API_KEY and restart the server.",
            )
        case 403:
            return ForbiddenError(
                f"The API key lacks the permission for {subject}.",
                f"{NOTHING_CHANGED} An administrator of the cloud account can grant it.",
            )
        case 404:
            return _not_found_error(body, subject, is_write=is_write)
        case 409:
            return ConflictError(
                f"The cloud refused {subject}: the object is busy, or the name is already taken.",
                NOTHING_CHANGED,
            )
        case 429:
            return RateLimitedError(
                "The cloud's limit of requests per minute is reached.",
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
                "The cloud's answer is a redirect, which was not followed.",
                f"{NOTHING_CHANGED} Check the API URL.",
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
            "Check that the API URL is that of the cloud's API, not of a web page.",
        )
    if not isinstance(body, Mapping):
        return None
    status = cast("Mapping[str, object]", body).get("status")
    if status is None or reports_success(status):
        return None
    if status is False or (type(status) is int and status >= 400):  # noqa: PLR2004 - HTTP's classes
        reason = _recognize_reason(cast("object", body))
        return CloudError(
            f"The cloud reports a failure for {subject}: {reason}.",
            "Check the current state before you try again.",
        )
    return ProtocolError(f"The cloud's answer for {subject} does not say whether it succeeded.")


def reports_success(status: object) -> bool:
    """Return whether a body's `status` means success.

    Source: `status` is true in the document, the integer 200 in the recorded replies.
    """
    if isinstance(status, bool):
        return status
    return isinstance(status, int) and 200 <= status < 300  # noqa: PLR2004 - HTTP's class of success


def _not_found_error(body: object, subject: str, *, is_write: bool) -> Exception:
    if not isinstance(body, Mapping):
        # The page comes from a gateway and shows nothing about the cloud's objects.
        if is_write:
            return outcome_unknown_error(
                subject, "the answer is not from the cloud", may_complete_later=False
            )
        return ProtocolError(
            f"The answer for {subject} (status 404) is not from the cloud.",
            f"{NOTHING_CHANGED} Check the API URL, and any proxy or gateway.",
        )
    if is_write:
        sentence = f"The cloud refused {subject}: the object does not exist."
        return NotFoundError(sentence, NOTHING_CHANGED)
    if subject.startswith("the "):
        return NotFoundError(
            f"The cloud has no API call for {subject}.",
            f"{NOTHING_CHANGED} Check the API URL.",
        )
    return NotFoundError(f"The cloud has no {subject}.", NOTHING_CHANGED)


def outcome_unknown_error(
    subject: str, reason: str, *, may_complete_later: bool = True
) -> OutcomeUnknownError:
    """Return the error of a write whose effect is unknown."""
    return OutcomeUnknownError(
        f"The request ({subject}) was sent but its outcome is not known: {reason}.",
        "It may or may not have happened. Check the current state first; do not repeat it.",
        may_complete_later=may_complete_later,
    )


_REASONS: Mapping[str, str] = {
    "currently being used to create a snapshot": "the VM is busy with a snapshot",
    "not ready to be": "the snapshot is not ready",
    "already has the image": "the snapshot already has an image",
    "does not exist": "an object that it needs does not exist",
    "already exist": "the name is already taken",
    "is being created": "it is still being created",
}


def _recognize_reason(body: object) -> str:
    """Return a reason in our own words: the cloud's text is recognized, never relayed."""
    message = _remote_message(body).lower()
    return next(
        (reason for fragment, reason in _REASONS.items() if fragment in message),
        "the reason is unknown",
    )


def _remote_message(body: object) -> str:
    """Return the cloud's message about a failure, sanitized. It must not be shown."""
    message = cast("Mapping[str, object]", body).get("message") if isinstance(body, Mapping) else ""
    return sanitize(message).text if isinstance(message, str) else ""


def _retry_advice(retry_after: float | None) -> str:
    return "Try again in a moment." if retry_after is None else f"Try again in {retry_after:.0f} s."
