"""Errors of the embedded cloud, in the error format of the real API."""

from http import HTTPStatus
from typing import Any

# The first reason of a status is its default.
# Source: the vendor's OpenAPI document and recorded replies. 406 has no reason of its own there.
# "conflict", for a resource that cannot be deleted yet, is specific to the embedded cloud.
ERROR_REASONS = {
    400: ("bad_request",),
    401: ("unauthorized",),
    404: ("not_found",),
    405: ("not_allowed",),
    406: ("bad_request",),
    409: ("already_exist", "conflict"),
    500: ("server_error",),
}


class ApiError(Exception):
    """An error response of the API.

    Args:
        status: the HTTP status.
        message: a sentence for people.
        reason: `error_reason` of the body; by default the first one of the status.
    """

    def __init__(self, status: HTTPStatus, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, reason)


def error_body(status: int, message: str, reason: str = "") -> dict[str, Any]:
    """Return the body of an error response.

    Source: the vendor's recorded replies.
    """
    reason = reason or ERROR_REASONS.get(status, ERROR_REASONS[400])[0]
    return {"status": False, "message": message, "error_reason": reason}


def bad_request_error(message: str) -> ApiError:
    """Return the error for an invalid request, or for a resource in an unsuitable state."""
    return ApiError(HTTPStatus.BAD_REQUEST, message)


def not_found_error(message: str) -> ApiError:
    """Return the error for a resource that does not exist."""
    return ApiError(HTTPStatus.NOT_FOUND, message)
