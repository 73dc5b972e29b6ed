"""Error responses: the status, the challenge for clients, and a description for people."""

import json
import logging
import math
from collections.abc import Collection
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from snapshot_mcp.core.errors import NOTHING_CHANGED
from snapshot_mcp.core.request_context import REQUEST_ID
from snapshot_mcp.transports.http.scopes import SCOPES

RETRY_AFTER_SECONDS = 10

logger = logging.getLogger(__name__)


class ErrorResponse(NamedTuple):
    """The reason for which a request is rejected.

    Attributes:
        status: the HTTP status.
        error: the error code, from RFC 6750 where it defines one; "" if there was no token.
        description: a sentence for people, in ASCII and without quotation marks.
        scopes: the scopes that a token needs for the request.
        retry_after: seconds after which the request may succeed.
    """

    status: int
    error: str
    description: str
    scopes: tuple[str, ...] = ()
    retry_after: float = 0


def insufficient_scope(granted: Collection[str], missing: Collection[str]) -> ErrorResponse:
    """Return the error for a request that needs more scopes than its token has.

    Args:
        granted: the scopes of the token.
        missing: the scopes that the token lacks.
    """
    description = f"This request needs the scope {' '.join(sorted(missing))}."
    # The new token replaces the old one, so it needs the scopes of both.
    wanted = tuple(scope for scope in SCOPES if scope in missing or scope in granted)
    return ErrorResponse(403, "insufficient_scope", description, wanted)


class ErrorResponder:
    """Sends error responses.

    Args:
        metadata_url: where clients find the issuer of tokens; None if there is no issuer.
    """

    def __init__(self, metadata_url: str | None) -> None:
        self._metadata_url = metadata_url

    async def send(self, error: ErrorResponse, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an error response and log it."""
        # The status is part of the template, so that each status is a kind of record of its own.
        template = f"request %s: {error.status}, %s"
        logger.warning(template, REQUEST_ID.get(), error.description)
        headers = {"cache-control": "no-store"}
        if error.scopes:
            headers["www-authenticate"] = self._challenge(error)
        if error.retry_after:
            headers["retry-after"] = str(math.ceil(error.retry_after))
        description = f"{error.description} {NOTHING_CHANGED}"
        body = {"error": error.error or "unauthorized", "error_description": description}
        response = Response(json.dumps(body), error.status, headers, "application/json")
        await response(scope, receive, send)

    def _challenge(self, error: ErrorResponse) -> str:
        """Return the value of `WWW-Authenticate`. Source: RFC 6750, 3, and RFC 9728, 5.1."""
        parameters = {
            "error": error.error,
            "error_description": error.description if error.error else "",
            "scope": " ".join(error.scopes),
            "resource_metadata": self._metadata_url or "",
        }
        parts = [f'{name}="{value}"' for name, value in parameters.items() if value]
        return " ".join(["Bearer", ", ".join(parts)]).strip()
