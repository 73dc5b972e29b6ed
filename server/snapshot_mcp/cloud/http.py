"""One HTTP call: a limit on its time and size, its answer checked, its failure typed.

A read that fails changed nothing. A write that fails after it left this process may have happened:
that is `OutcomeUnknown`, whatever the cause, and nobody may repeat it blindly.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeVar, cast

import anyio
import httpx
from pydantic_core import from_json

from snapshot_mcp.errors import (
    BadRequest,
    CloudError,
    Conflict,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from snapshot_mcp.untrusted import showable

T = TypeVar("T")
Json = Mapping[str, str | int | list[str]]

LARGEST_BODY_BYTES = 8 * 1024 * 1024
"""Answers above this are cut off and refused; a page of 100 snapshots takes about 0.3 MB."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# An address in an answer that cannot be parsed comes as InvalidURL or a ValueError.
_FAILURES = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, TimeoutError, ValueError)
_NOTHING_CHANGED = "Nothing was changed."
_UNDECIDED_STATUS = frozenset({408, 425})

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What came back: the HTTP status, the JSON value (None when it is no JSON), the headers."""

    status: int
    body: object
    headers: httpx.Headers


class Api:
    """The cloud's REST API, reached through one pooled client.

    Args:
        http: carries the base address, the key and the limits of connect, read, write and pool.
        timeout: seconds for one call as a whole, however slowly its bytes drip.
    """

    def __init__(self, http: httpx.AsyncClient, *, timeout: float) -> None:
        self._http = http
        self._timeout = timeout

    async def read(
        self,
        path: str,
        subject: str,
        parse: Callable[[object], T],
        params: Mapping[str, str | int] | None = None,
    ) -> T:
        """GET `path` and parse its body.

        Args:
            path: below the base address.
            subject: what is read, as it stands in an error ("snapshot 1701").
            parse: makes the result of the JSON body; raises ProtocolError when it does not fit.
            params: the query.

        Raises:
            CloudError: the cloud refused, or gave no usable answer.
            ProtocolError: the body is no JSON, or not of the expected shape.
        """
        try:
            answer = await self._exchange("GET", path, params=params)
        except _FAILURES as error:
            logger.info("GET %s failed: %s", path, type(error).__name__)
            raise Unavailable(
                f"The cloud could not be reached for {subject} ({_failure(error)}).",
                f"{_NOTHING_CHANGED} Try again in a moment; if it stays so, check the address.",
            ) from error
        refuse_failure(answer, subject, writing=False)
        return parse(answer.body)

    async def write(
        self,
        method: Literal["POST", "DELETE"],
        path: str,
        subject: str,
        parse: Callable[[object], T],
        body: Json | None = None,
    ) -> T:
        """Send one write, once, and parse its answer. Arguments as in `read`.

        Raises:
            OutcomeUnknown: it was sent and what came back does not tell whether it happened.
            CloudError: the cloud refused, or could not be reached; nothing was changed.
        """
        try:
            answer = await self._exchange(method, path, body=body)
            refuse_failure(answer, subject, writing=True)
            return parse(answer.body)
        except _NOT_SENT as error:
            raise Unavailable(
                f"The cloud could not be reached ({_failure(error)}), so nothing was sent.",
                f"{_NOTHING_CHANGED} Try again in a moment.",
            ) from error
        except CloudError:
            raise
        except ProtocolError as error:
            raise outcome_unknown(subject, "the answer does not fit the request") from error
        except Exception as error:
            # Whatever it was, the request may be out: nobody may be told less than that.
            raise outcome_unknown(subject, _failure(error)) from error

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Json | None = None,
    ) -> Answer:
        with anyio.fail_after(self._timeout):
            async with self._http.stream(method, path, params=params, json=body) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    # A few kilobytes of nested compression inflate to gigabytes.
                    raise ProtocolError("The cloud's answer is compressed, unasked.")
                received = bytearray()
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > LARGEST_BODY_BYTES:
                        raise ProtocolError(
                            "The cloud's answer is larger than any real one; it was cut off."
                        )
                return Answer(response.status_code, _json(bytes(received)), response.headers)


def refuse_failure(answer: Answer, subject: str, *, writing: bool) -> None:
    """Raise the typed error of an answer that is not a success.

    A success is a 2xx status, a JSON body, and no `status: false` in it.
    """
    error = _error_of(answer, subject, writing=writing)
    if error is not None:
        logger.info(
            "the cloud answered %d for %s: %s", answer.status, subject, _remote_message(answer.body)
        )
        raise error


def _error_of(answer: Answer, subject: str, *, writing: bool) -> Exception | None:  # noqa: PLR0911 - one line an answer
    match answer.status:
        case status if 200 <= status < 300:  # noqa: PLR2004 - the class of success
            return _error_in_success(answer.body, subject)
        case 401:
            return Unauthorized(
                "The cloud does not accept the API key.",
                f"{_NOTHING_CHANGED} Check SNAPSHOT_MCP_API_KEY and restart the server.",
            )
        case 403:
            return Forbidden(
                f"The API key may not do this ({subject}).",
                f"{_NOTHING_CHANGED} Someone with rights to the cloud account can allow it.",
            )
        case 404:
            return _not_found(subject, writing=writing)
        case 409:
            return Conflict(
                f"The cloud refused {subject}: it is busy, or the name is already taken.",
                _NOTHING_CHANGED,
            )
        case 429:
            return RateLimited(
                "The cloud takes no more requests this minute.",
                f"{_NOTHING_CHANGED} Wait a minute and try again.",
                retry_after=_retry_after(answer.headers),
            )
        case status if 400 <= status < 500 and status not in _UNDECIDED_STATUS:  # noqa: PLR2004 - the class of refusals
            return BadRequest(
                f"The cloud refused {subject}: {_known_reason(answer.body)}.", _NOTHING_CHANGED
            )
        case status if writing:
            return outcome_unknown(subject, f"it answered with status {status}")
        case status if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
            return ProtocolError(
                "The cloud's answer points to another address, which was not followed.",
                f"{_NOTHING_CHANGED} Check the API address.",
            )
        case status:
            return Unavailable(
                f"The cloud failed on {subject} (status {status}).",
                f"{_NOTHING_CHANGED} Try again in a moment.",
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
    if status is None or says_success(status):
        return None
    if status is False or (type(status) is int and status >= 400):  # noqa: PLR2004 - HTTP's classes
        return CloudError(
            f"The cloud says that it failed on {subject}: {_known_reason(cast('object', body))}.",
            "Look at the current state before you try again.",
        )
    return ProtocolError(f"The cloud's answer for {subject} does not say whether it worked.")


def says_success(status: object) -> bool:
    """Whether a body's `status` says that it worked.

    Source: `status` is true in the document, the integer 200 in the recorded replies.
    """
    if isinstance(status, bool):
        return status
    return isinstance(status, int) and 200 <= status < 300  # noqa: PLR2004 - HTTP's class of success


def _not_found(subject: str, *, writing: bool) -> NotFound:
    if writing:
        sentence = f"The cloud refused {subject}: what it is about does not exist."
        return NotFound(sentence, _NOTHING_CHANGED)
    if subject.startswith("the "):
        return NotFound(
            f"The cloud does not know the call for {subject}.",
            f"{_NOTHING_CHANGED} Check the API address.",
        )
    return NotFound(f"The cloud has no {subject}.", _NOTHING_CHANGED)


def outcome_unknown(subject: str, why: str) -> OutcomeUnknown:
    """The error of a write whose effect nobody saw."""
    return OutcomeUnknown(
        f"The request ({subject}) was sent but its outcome is not known: {why}.",
        "It may or may not have happened. Look before you do anything else; do not repeat it.",
    )


_REASONS: Mapping[str, str] = {
    "currently being used to create a snapshot": "the VM is busy with a snapshot",
    "not ready to be restored": "the snapshot is not ready",
    "does not exist": "there is no such thing",
    "already exist": "the name is already taken",
    "is being created": "it is still being created",
}


def _known_reason(body: object) -> str:
    """Why, in our words: what the cloud wrote is recognised, never relayed."""
    message = _remote_message(body).lower()
    return next(
        (ours for theirs, ours in _REASONS.items() if theirs in message),
        "it does not accept the request as it is",
    )


def _remote_message(body: object) -> str:
    message = cast("Mapping[str, object]", body).get("message") if isinstance(body, Mapping) else ""
    return showable(message).text if isinstance(message, str) else ""


def _json(received: bytes) -> object:
    try:
        return from_json(received)
    except ValueError:
        pass
    try:
        # The slower parser takes half an emoji in one name, which must not hide a whole list.
        return json.loads(received)
    except (ValueError, RecursionError):
        return None


def _retry_after(headers: httpx.Headers) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else None  # noqa: PLR2004 - under a day or so


def _failure(error: Exception) -> str:
    match error:
        case httpx.TimeoutException() | TimeoutError():
            return "it did not answer in time"
        case httpx.ConnectError() | httpx.ProxyError():
            return "no connection"
        case _:
            return "the connection broke"
