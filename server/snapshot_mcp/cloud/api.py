"""One HTTP call: limit its time and size, check its answer, and raise typed errors.

A failed read changed nothing. A write that fails after it was sent may have taken effect. Every
such failure raises `OutcomeUnknownError`, and the write must not be repeated blindly.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from http import HTTPStatus
from typing import Literal, NamedTuple, TypeVar, cast

import anyio
import httpx

from snapshot_mcp.cloud.connection import Connection, JsonBody
from snapshot_mcp.cloud.connection_failures import describe_cause
from snapshot_mcp.cloud.decoding import ANY_JSON, AnswerFormat, decode_json
from snapshot_mcp.cloud.field_readers import drop_future_times
from snapshot_mcp.cloud.response_errors import error_from_response, outcome_unknown_error
from snapshot_mcp.cloud.retry import (
    RATE_LIMIT_TIMEOUT_SECONDS,
    parse_retry_after,
    retry_until,
)
from snapshot_mcp.cloud.scheduler import Exchange, RequestScheduler
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    AnswerTooLargeError,
    CloudError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitedError,
    UnavailableError,
    error_kind,
)
from snapshot_mcp.core.instrumentation import observe_request

T = TypeVar("T")

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Limit of an answer. A page of 100 snapshots has about 0.3 MB."""

LARGE_BODY_BYTES = 512 * 1024
MAX_LARGE_BODIES = 2
"""Bodies above `LARGE_BODY_BYTES` that all reads together receive and decode at the same time. The
others wait. So all bodies take at most 12 MB: two of 4 MB and eight of 0.5 MB."""

_NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_READ_ERRORS = (httpx.HTTPError, httpx.StreamError, TimeoutError)

MAX_READ_TIMEOUTS = 3
"""Time limit of a read with its retries and waits, as a multiple of the timeout of one call. A wait
until the cloud's limit of requests allows another attempt may prolong it."""

logger = logging.getLogger(__name__)


class ApiResponse(NamedTuple):
    """A response after its body was received completely."""

    status: int
    body: bytearray
    headers: httpx.Headers


class ApiClient:
    """A client of the cloud's REST API.

    Args:
        connection: sends the requests.
        scheduler: decides when a request may be sent.
        clock: source of time.
        timeout: seconds for one call from start to end, even if its bytes arrive slowly.
    """

    def __init__(
        self, connection: Connection, scheduler: RequestScheduler, clock: Clock, *, timeout: float
    ) -> None:
        self._connection = connection
        self._scheduler = scheduler
        self._clock = clock
        self._timeout = timeout
        self._large_bodies = anyio.Semaphore(MAX_LARGE_BODIES)

    async def read(
        self,
        path: str,
        subject: str,
        parse: Callable[[object], T],
        params: Mapping[str, str | int] | None = None,
        answer_format: AnswerFormat = ANY_JSON,
        *,
        retry: bool = True,
    ) -> T:
        """GET `path` and parse its body; retry transient failures.

        Args:
            path: relative to the base URL.
            subject: what is read, for error messages ("snapshot 1701").
            parse: converts the JSON body to the result; raises ProtocolError if it is invalid.
            params: the query parameters.
            answer_format: the expected body.
            retry: False if a late answer is useless to the caller.

        Raises:
            CloudError: the cloud refused, or gave no usable answer.
            ProtocolError: the body is not JSON, or does not have the expected shape.
        """
        max_seconds = MAX_READ_TIMEOUTS * self._timeout
        latest_end = anyio.current_time() + RATE_LIMIT_TIMEOUT_SECONDS + self._timeout

        async def attempt() -> object:
            try:
                return await self._read_once(path, subject, params, answer_format)
            except RateLimitedError:
                scope.deadline = max(scope.deadline, latest_end)
                raise

        try:
            with anyio.fail_after(max_seconds) as scope:
                if retry:
                    body = await retry_until(attempt, self._clock, max_seconds=max_seconds)
                else:
                    body = await attempt()
        except TimeoutError as error:
            raise UnavailableError(
                f"The cloud did not return {subject} within {max_seconds:g} s.",
                f"{NOTHING_CHANGED} Many requests are waiting, or the cloud is slow; try later.",
            ) from error
        except UnavailableError as error:
            if error.answered:
                self._scheduler.record_failure()  # no attempt had another answer
            raise
        return parse(body)

    async def _read_once(
        self,
        path: str,
        subject: str,
        params: Mapping[str, str | int] | None,
        answer_format: AnswerFormat,
    ) -> object:
        async with self._scheduler.read_slot():
            try:
                return await self._exchange(
                    "GET", path, subject, params=params, answer_format=answer_format
                )
            except _READ_ERRORS as error:
                logger.info("a read failed: %s", error_kind(error))
                raise UnavailableError(
                    f"The cloud could not be reached for {subject} ({_describe_failure(error)}).",
                    f"{NOTHING_CHANGED} Try again in a moment; if it persists, check the API URL.",
                    transient=isinstance(
                        error, (*_NOT_SENT_ERRORS, httpx.NetworkError, httpx.ProtocolError)
                    ),
                ) from error

    def write_slot(self) -> AbstractAsyncContextManager[None]:
        """Wait for a slot for one `write`, which must be sent immediately."""
        return self._scheduler.write_slot()

    async def write(
        self,
        method: Literal["POST", "DELETE"],
        path: str,
        subject: str,
        parse: Callable[[object], T],
        body: JsonBody | None = None,
    ) -> T:
        """Send one write, exactly once, inside a `write_slot`, and parse its answer.

        Arguments as in `read`.

        Raises:
            OutcomeUnknownError: it was sent, and the answer does not show whether it took effect.
            CloudError: the cloud refused, or could not be reached; nothing was changed.
        """
        try:
            return parse(await self._exchange(method, path, subject, body=body))
        except _NOT_SENT_ERRORS as error:
            raise UnavailableError(
                f"The cloud could not be reached ({_describe_failure(error)}).",
                f"{NOTHING_CHANGED} Try again in a moment.",
                transient=True,
            ) from error
        except OutcomeUnknownError:
            self._scheduler.record_failure()
            raise
        except CloudError:
            raise
        except ProtocolError as error:
            raise outcome_unknown_error(subject, "the answer does not match the request") from error
        except Exception as error:
            # After any other error the request may have been sent, and may still be in a queue.
            raise outcome_unknown_error(subject, _describe_failure(error)) from error

    async def _exchange(
        self,
        method: str,
        path: str,
        subject: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: JsonBody | None = None,
        answer_format: AnswerFormat = ANY_JSON,
    ) -> object:
        """Send one request; return the JSON value of a success, raise the error of a failure."""
        async with AsyncExitStack() as memory:
            async with self._scheduler.circuit_guard() as exchange:
                request = partial(self._connection.stream, method, path, params, body)
                limit = min(MAX_BODY_BYTES, answer_format.max_bytes)
                with observe_request(method, path) as report_status:
                    answer = await self._send(exchange, request, report_status, limit, memory)
            value = _decode(answer, answer_format)
        retry_after = None
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's classes of errors
            retry_after = parse_retry_after(answer.headers.get("retry-after", ""), self._clock)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            retry_after = self._scheduler.record_rate_limit(exchange, retry_after)
        is_write = method != "GET"
        error = error_from_response(answer.status, value, subject, retry_after, is_write=is_write)
        if error is not None:
            raise error
        drop_future_times(value, self._clock.now())
        return value

    async def _send(
        self,
        exchange: Exchange,
        request: Callable[[], AbstractAsyncContextManager[httpx.Response]],
        report_status: Callable[[int], None],
        max_bytes: int,
        memory: AsyncExitStack,
    ) -> ApiResponse:
        with anyio.fail_after(self._timeout):
            async with request() as response:
                report_status(response.status_code)
                try:
                    _require_plain_body(response)
                    received = await self._receive(response, max_bytes, memory)
                except ProtocolError:
                    exchange.status = response.status_code  # the cloud did answer
                    raise
                exchange.status = response.status_code
                return ApiResponse(response.status_code, received, response.headers)

    async def _receive(
        self, response: httpx.Response, max_bytes: int, memory: AsyncExitStack
    ) -> bytearray:
        """Return the body of a response.

        Args:
            response: the response.
            max_bytes: limit of its size.
            memory: holds a slot for a large body until it is decoded.

        Raises:
            AnswerTooLargeError: the body is longer.
        """
        received, is_large = bytearray(), False
        # Read the raw stream: the body is not compressed, so nothing has to be decoded.
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            received += chunk
            if len(received) > max_bytes:
                raise _too_large_error()
            if len(received) > LARGE_BODY_BYTES and not is_large:
                is_large = True
                await memory.enter_async_context(self._large_bodies)
        return received


def _decode(answer: ApiResponse, answer_format: AnswerFormat) -> object:
    if answer_format.has_too_many_values(answer.body):
        raise _too_large_error()
    if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's class of success
        return answer_format.decode(answer.body)
    logger.info("the cloud answered %d", answer.status)
    return decode_json(answer.body)


def _too_large_error() -> AnswerTooLargeError:
    return AnswerTooLargeError("The cloud's answer exceeds the size limit and was discarded.")


def _require_plain_body(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProtocolError("The cloud's answer has a compression that was not requested.")


def _describe_failure(error: Exception) -> str:
    match error:
        case httpx.TimeoutException() | TimeoutError():
            return "it did not answer in time"
        case httpx.ConnectError() | httpx.ProxyError():
            cause = describe_cause(error)
            return f"no connection: {cause}" if cause else "no connection"
        case _:
            return "the connection broke"
