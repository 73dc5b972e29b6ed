"""One HTTP call: a limit on its time and size, its answer checked, its failure typed.

A read that fails changed nothing. A write that fails after it left this process may have happened:
that is `OutcomeUnknown`, whatever the cause, and nobody may repeat it blindly.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, TypeVar, cast

import anyio
import httpx

from snapshot_mcp.cloud.connection import Connection, JsonBody
from snapshot_mcp.cloud.decoding import JsonDecoder, decode_json
from snapshot_mcp.cloud.response_errors import error_from_response, outcome_unknown_error
from snapshot_mcp.cloud.retry import parse_retry_after, retry_until
from snapshot_mcp.cloud.scheduler import RequestScheduler
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    CloudError,
    ProtocolError,
    UnavailableError,
    error_kind,
)
from snapshot_mcp.core.instrumentation import observe_request

T = TypeVar("T")

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Answers above this are cut off and refused; a page of 100 snapshots takes about 0.3 MB, and the
emptiest JSON grows thirtyfold when it is parsed."""

_NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# An address in an answer that cannot be parsed comes as InvalidURL or a ValueError.
_READ_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, TimeoutError, ValueError)

READ_ATTEMPTS = 3
"""A read may take as long as so many calls may, with all its pauses and queues."""

logger = logging.getLogger(__name__)


class ApiResponse(NamedTuple):
    """What came back: the HTTP status, the JSON value (None when it is no JSON), the headers."""

    status: int
    body: object
    headers: httpx.Headers


class ApiClient:
    """The cloud's REST API.

    Args:
        connection: the way to it.
        traffic: when a request may leave.
        clock: the time, and the way to wait.
        timeout: seconds for one call as a whole, however slowly its bytes drip.
    """

    def __init__(
        self, connection: Connection, scheduler: RequestScheduler, clock: Clock, *, timeout: float
    ) -> None:
        self._connection = connection
        self._scheduler = scheduler
        self._clock = clock
        self._timeout = timeout

    async def read(
        self,
        path: str,
        subject: str,
        parse: Callable[[object], T],
        params: Mapping[str, str | int] | None = None,
        decode: JsonDecoder = decode_json,
        *,
        once: bool = False,
    ) -> T:
        """GET `path` and parse its body; again, where that may well work in a moment.

        Args:
            path: below the base address.
            subject: what is read, as it stands in an error ("snapshot 1701").
            parse: makes the result of the JSON body; raises ProtocolError when it does not fit.
            params: the query.
            decode: makes the JSON value of a success.
            once: not again: an answer that comes late is of no use.

        Raises:
            CloudError: the cloud refused, or gave no usable answer.
            ProtocolError: the body is no JSON, or not of the expected shape.
        """
        within = READ_ATTEMPTS * self._timeout

        async def attempt() -> ApiResponse:
            return await self._read_once(path, subject, params, decode)

        try:
            with anyio.fail_after(within):
                trying = (
                    attempt() if once else retry_until(attempt, self._clock, max_seconds=within)
                )
                answer = await trying
        except TimeoutError as error:
            raise UnavailableError(
                f"The cloud did not give {subject} within {within:g} s.",
                f"{NOTHING_CHANGED} Many requests are waiting, or the cloud is slow; try later.",
            ) from error
        return parse(answer.body)

    async def _read_once(
        self,
        path: str,
        subject: str,
        params: Mapping[str, str | int] | None,
        decode: JsonDecoder,
    ) -> ApiResponse:
        async with self._scheduler.read_slot(), self._scheduler.circuit_guard():
            try:
                answer = await self._send("GET", path, params=params, decode=decode)
            except _READ_ERRORS as error:
                logger.info("a read failed: %s", error_kind(error))
                raise UnavailableError(
                    f"The cloud could not be reached for {subject} ({_describe_failure(error)}).",
                    f"{NOTHING_CHANGED} Try again in a moment; if it stays so, check the address.",
                    transient=isinstance(
                        error, (*_NOT_SENT_ERRORS, httpx.NetworkError, httpx.ProtocolError)
                    ),
                ) from error
            self._raise_on_failure(answer, subject, writing=False)
            return answer

    def write_slot(self) -> AbstractAsyncContextManager[None]:
        """The time of one `write`; whoever has the turn sends at once."""
        return self._scheduler.write_slot()

    async def write(
        self,
        method: Literal["POST", "DELETE"],
        path: str,
        subject: str,
        parse: Callable[[object], T],
        body: JsonBody | None = None,
    ) -> T:
        """Send one write, once, within a `turn_to_write`, and parse its answer.

        Arguments as in `read`.

        Raises:
            OutcomeUnknown: it was sent and what came back does not tell whether it happened.
            CloudError: the cloud refused, or could not be reached; nothing was changed.
        """
        async with self._scheduler.circuit_guard():
            return await self._write_once(method, path, subject, parse, body)

    async def _write_once(
        self,
        method: str,
        path: str,
        subject: str,
        parse: Callable[[object], T],
        body: JsonBody | None,
    ) -> T:
        try:
            answer = await self._send(method, path, body=body)
            self._raise_on_failure(answer, subject, writing=True)
            return parse(answer.body)
        except _NOT_SENT_ERRORS as error:
            raise UnavailableError(
                f"The cloud could not be reached ({_describe_failure(error)}).",
                f"Nothing was sent. {NOTHING_CHANGED} Try again in a moment.",
                transient=True,
            ) from error
        except CloudError:
            raise
        except ProtocolError as error:
            raise outcome_unknown_error(subject, "the answer does not fit the request") from error
        except Exception as error:
            # Whatever it was, the request may be out: nobody may be told less than that.
            broken = isinstance(error, (httpx.NetworkError, httpx.ProtocolError))
            raise outcome_unknown_error(
                subject, _describe_failure(error), may_complete_later=not broken
            ) from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: JsonBody | None = None,
        decode: JsonDecoder = decode_json,
    ) -> ApiResponse:
        with observe_request(method, path) as answered, anyio.fail_after(self._timeout):
            async with self._connection.stream(method, path, params, body) as response:
                answered(response.status_code)
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise ProtocolError("The cloud's answer is compressed, unasked.")
                received = bytearray()
                # The body as it comes: it is not compressed, so what httpx adds does nothing here.
                async for chunk in cast("httpx.AsyncByteStream", response.stream):
                    received += chunk
                    if len(received) > MAX_BODY_BYTES:
                        raise ProtocolError(
                            "The cloud's answer is larger than any real one; it was cut off."
                        )
                if not response.is_success:
                    decode = decode_json
                return ApiResponse(response.status_code, decode(received), response.headers)

    def _raise_on_failure(self, answer: ApiResponse, subject: str, *, writing: bool) -> None:
        advised = parse_retry_after(answer.headers.get("retry-after", ""), self._clock)
        error = error_from_response(answer.status, answer.body, subject, advised, is_write=writing)
        if error is not None:
            logger.info("the cloud answered %d", answer.status)
            raise error


def _describe_failure(error: Exception) -> str:
    match error:
        case httpx.TimeoutException() | TimeoutError():
            return "it did not answer in time"
        case httpx.ConnectError() | httpx.ProxyError():
            return "no connection"
        case _:
            return "the connection broke"
