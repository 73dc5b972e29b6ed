"""How a request is turned away: the status, the challenge that clients read, and one sentence."""

import json
import logging
import math
from collections.abc import Collection
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from snapshot_mcp.core.request_context import REQUEST_ID
from snapshot_mcp.transports.http.scopes import SCOPES

RETRY_AFTER_SECONDS = 10

logger = logging.getLogger(__name__)


class ErrorResponse(NamedTuple):
    """Why a request goes no further.

    Attributes:
        status: of HTTP.
        error: its code, by RFC 6750 where that has one; "" where no token was presented.
        sentence: for people; without quotation marks and beyond ASCII nothing.
        scopes: what a token needs to get past it.
        retry_after: seconds after which it may work.
    """

    status: int
    error: str
    sentence: str
    scopes: tuple[str, ...] = ()
    retry_after: float = 0


def insufficient_scope(held: Collection[str], missing: Collection[str]) -> ErrorResponse:
    """The refusal of what needs scopes that a token does not have.

    Args:
        held: those that it has.
        missing: those that it lacks.
    """
    sentence = f"This needs the scope {' '.join(sorted(missing))}; nothing was done"
    # All that a new token needs: with the missing alone it could not do what this one can.
    wanted = tuple(it for it in SCOPES if it in missing or it in held)
    return ErrorResponse(403, "insufficient_scope", sentence, wanted)


class ErrorResponder:
    """Answers refusals.

    Args:
        metadata_url: where clients learn who issues tokens; None: nobody does.
    """

    def __init__(self, metadata_url: str | None) -> None:
        self._metadata_url = metadata_url

    async def __call__(
        self, refusal: ErrorResponse, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request with a refusal, and note it in the log."""
        logger.warning("request %s: %d, %s", REQUEST_ID.get(), refusal.status, refusal.sentence)
        headers = {"cache-control": "no-store"}
        if refusal.status in {401, 403}:
            headers["www-authenticate"] = self._challenge(refusal)
        if refusal.retry_after:
            headers["retry-after"] = str(math.ceil(refusal.retry_after))
        body = {"error": refusal.error or "unauthorized", "error_description": refusal.sentence}
        response = Response(json.dumps(body), refusal.status, headers, "application/json")
        await response(scope, receive, send)

    def _challenge(self, refusal: ErrorResponse) -> str:
        """Source: RFC 6750, 3, and RFC 9728, 5.1."""
        said = {
            "error": refusal.error,
            "error_description": refusal.sentence if refusal.error else "",
            "scope": " ".join(refusal.scopes),
            "resource_metadata": self._metadata_url or "",
        }
        parts = [f'{name}="{value}"' for name, value in said.items() if value]
        return " ".join(["Bearer", ", ".join(parts)]).strip()
