"""How the embedded cloud says no: one exception, in the cloud's own error shape."""

from http import HTTPStatus
from typing import Any

# The first is the usual one.
# Source: the vendor's OpenAPI document and recorded replies; 406 has no reason of its own there,
# and "conflict", for what cannot be deleted now, is this cloud's.
REASONS = {
    400: ("bad_request",),
    401: ("unauthorized",),
    404: ("not_found",),
    405: ("not_allowed",),
    406: ("bad_request",),
    409: ("already_exist", "conflict"),
    500: ("server_error",),
}


class RefusalError(Exception):
    """The cloud does not do what was asked.

    Args:
        status: HTTP status.
        message: a sentence for a person.
        reason: `error_reason` of the reply; by default the usual one of the status.
    """

    def __init__(self, status: HTTPStatus, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, reason)


def error_body(status: int, message: str, reason: str = "") -> dict[str, Any]:
    """The body of every error reply.

    Source: the vendor's recorded replies.
    """
    reason = reason or REASONS.get(status, REASONS[400])[0]
    return {"status": False, "message": message, "error_reason": reason}


def bad_request(message: str) -> RefusalError:
    """The request is wrong, or the thing is in no state for it."""
    return RefusalError(HTTPStatus.BAD_REQUEST, message)


def not_found(message: str) -> RefusalError:
    """There is no such thing."""
    return RefusalError(HTTPStatus.NOT_FOUND, message)


def name_taken(kind: str, name: str) -> RefusalError:
    """Another thing has that name."""
    return RefusalError(HTTPStatus.CONFLICT, f"{kind} with name '{name}' already exists.")
