"""Map the cloud's answers to typed errors."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from snapshot_mcp.cloud.damaged_json import UNREADABLE
from snapshot_mcp.cloud.refusal_reasons import UNKNOWN, Reason, recognize_reason
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

_UNDECIDED_STATUSES = frozenset({408, 425})
"""Refusals after which it is unknown whether the request was processed."""

_PERMANENT_STATUSES = frozenset({501, 505, 511})
"""Failures of a server or gateway that a retry of a read does not change. It may change all others,
500 too, according to the vendor's guides."""

_MAY_COMPLETE_LATER_STATUSES = frozenset({408, 502, 504})
"""A gateway sends these for a server behind it, which may still process the request."""


def error_from_response(
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
            return _error_in_success(body, subject, is_write=is_write)
        case 401:
            return UnauthorizedError(
                "The cloud rejected the API key.",
                f"{NOTHING_CHANGED} Check SNAPSHOT_MCP_API_KEY and restart the server.",
            )
        case 404:
            return _not_found_error(body, subject, is_write=is_write)
        case 429:
            return rate_limited_error(retry_after or 0.0)
        case status if 400 <= status < 500 and status not in _UNDECIDED_STATUSES:  # noqa: PLR2004 - the class of refusals
            return _refusal(status, body, subject)
        case _:
            return _failure(status, body, subject, retry_after, is_write=is_write)


def _refusal(status: int, body: object, subject: str) -> Exception:
    reason = recognize_reason(status, body)
    match status:
        case 403 if reason is None:
            return ForbiddenError(
                f"The API key lacks the permission for {subject}, or is limited to another"
                " environment.",
                f"{NOTHING_CHANGED} An administrator of the cloud account can grant it.",
            )
        case 409:
            reason = reason or Reason("it is busy or in use", "Try again later.")
            return _refused(ConflictError, subject, reason)
        case _:
            return _refused(BadRequestError, subject, reason or UNKNOWN)


def _refused(kind: type[CloudError], subject: str, reason: Reason) -> CloudError:
    return kind(
        f"The cloud refused {subject}: {reason.words}.",
        f"{NOTHING_CHANGED} {reason.next_step}".rstrip(),
    )


def _failure(
    status: int, body: object, subject: str, retry_after: float | None, *, is_write: bool
) -> Exception:
    if is_write:
        # With other statuses than 500, and no body of the cloud, a gateway may have answered.
        is_gateway = status in _MAY_COMPLETE_LATER_STATUSES or (
            status != HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(body, Mapping)
        )
        return outcome_unknown_error(
            subject,
            f"it answered with status {status}",
            may_complete_later=status < 500 or is_gateway,  # noqa: PLR2004 - the class of the server's own failures
        )
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
        return ProtocolError(
            "The cloud's answer is a redirect, which was not followed.",
            f"{NOTHING_CHANGED} Check the API URL.",
        )
    return UnavailableError(
        f"The cloud failed on {subject} (status {status}).",
        f"{NOTHING_CHANGED} {_retry_advice(retry_after)}",
        retry_after=retry_after,
        transient=status in _UNDECIDED_STATUSES
        or (status >= 500 and status not in _PERMANENT_STATUSES),  # noqa: PLR2004 - as above
        answered=True,
    )


def _error_in_success(body: object, subject: str, *, is_write: bool) -> Exception | None:
    if body is None:
        return ProtocolError(
            f"The cloud's answer for {subject} is not JSON.",
            "Check that the API URL is that of the cloud's API, not of a web page.",
        )
    if not isinstance(body, Mapping):
        return None
    status = cast("Mapping[str, object]", body).get("status")
    if status is None or status is UNREADABLE or reports_success(status):
        return None
    if status is False or (type(status) is int and status >= 400):  # noqa: PLR2004 - HTTP's classes
        number = status if status is not False else 400
        reason = recognize_reason(number, cast("object", body))
        return _failure_in_success(subject, reason, is_write=is_write)
    return ProtocolError(f"The cloud's answer for {subject} does not say whether it succeeded.")


def _failure_in_success(subject: str, reason: Reason | None, *, is_write: bool) -> Exception:
    if reason is not None:
        return _refused(BadRequestError, subject, reason)
    if is_write:
        # The status and the body disagree, so only the cloud's state shows what happened.
        return outcome_unknown_error(
            subject, "its body reports a failure", may_complete_later=False
        )
    return CloudError(
        f"The cloud reports a failure for {subject}, and the reason is unknown.",
        f"{NOTHING_CHANGED} Try again later.",
    )


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
        missing = "the object does not exist, or belongs to another region"
        reason = recognize_reason(404, cast("object", body)) or Reason(missing, "")
        return _refused(NotFoundError, subject, reason)
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


def rate_limited_error(seconds: float) -> RateLimitedError:
    """Return the error of a request that the cloud refuses for some seconds, as all others."""
    return RateLimitedError(
        "The cloud's limit of requests per minute is reached.",
        f"{NOTHING_CHANGED} {_retry_advice(seconds)}",
        retry_after=seconds,
        transient=True,
    )


def share_used_error(seconds: float) -> RateLimitedError:
    """Return the error of a request that its principal's share of the limit does not permit yet."""
    return RateLimitedError(
        "Your share of the requests per minute to the cloud is used up.",
        f"{NOTHING_CHANGED} {_retry_advice(seconds)}",
        retry_after=seconds,
        transient=True,  # a long list needs more requests than the share of one minute
    )


def _retry_advice(retry_after: float | None) -> str:
    if retry_after is None:
        return "Try again in a moment."
    return f"Try again in {math.ceil(retry_after)} s."
