"""Faults of one request between the server and the cloud.

Each fault decides whether the cloud receives the request, and what the server receives.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Literal, Protocol

import httpx

from tests.faults.clocks import FaultTime

When = Literal["never", "before", "late"]
"""The time when the cloud executes a failed request: never, before the failure, or later."""

OthersAction = Literal[
    "delete a sibling", "delete the target", "protect the target", "take the name"
]
"""A change by someone else that concerns the target of a write."""

MAY_COMPLETE_LATER = frozenset({408, 502, 504})
"""Statuses after which a server behind a gateway may still complete the request."""


class InFlightRequest(Protocol):
    """One request on its way to the cloud."""

    @property
    def http_request(self) -> httpx.Request:
        """The HTTP request."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds that the sender waits for an answer."""
        ...

    @property
    def time(self) -> FaultTime:
        """The time."""
        ...

    async def deliver(self) -> httpx.Response:
        """Deliver the request to the cloud."""
        ...

    def deliver_after(self, seconds: float) -> None:
        """Deliver the request after some seconds, when the sender does not wait any more."""
        ...

    def let_others(self, action: OthersAction) -> None:
        """Let someone else change what this request is about."""
        ...


@dataclass(frozen=True)
class Fault:
    """No fault: the request reaches the cloud, and its answer comes back.

    Attributes:
        answer_intact: the server receives the cloud's own answer.
        may_complete_later: as far as the sender knows, the request may take effect at any time.
    """

    @property
    def answer_intact(self) -> bool:
        return True

    @property
    def may_complete_later(self) -> bool:
        return False

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        return await request.deliver()


@dataclass(frozen=True)
class ClockJump(Fault):
    """The server's time of day is moved."""

    hours: float

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        request.time.jump(self.hours)
        return await request.deliver()


@dataclass(frozen=True)
class Delay(Fault):
    """The answer takes some time, but less than the sender's timeout."""

    seconds: float

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        await request.time.advance(min(self.seconds, request.timeout * 0.9))
        return await request.deliver()


@dataclass(frozen=True)
class AnswerFault(Fault):
    """The server does not receive the cloud's own answer."""

    @property
    def answer_intact(self) -> bool:
        return False


@dataclass(frozen=True)
class NoAnswer(AnswerFault):
    """No answer within the sender's timeout; the cloud may still execute the request."""

    when: When
    seconds_late: float = 1.0

    @property
    def may_complete_later(self) -> bool:
        return True

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        await _deliver(request, self.when, self.seconds_late + request.timeout)
        await request.time.advance(request.timeout)
        raise httpx.ReadTimeout("no answer in time", request=request.http_request)


@dataclass(frozen=True)
class ConnectionRefused(AnswerFault):
    """There is no connection, so nothing is sent."""

    error: type[httpx.TransportError] = httpx.ConnectError

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        raise self.error("no connection", request=request.http_request)


@dataclass(frozen=True)
class ConnectionReset(AnswerFault):
    """The connection breaks; the request may still be in the queue of a gateway."""

    when: When
    seconds_late: float = 1.0
    error: type[httpx.TransportError] = httpx.ReadError

    @property
    def may_complete_later(self) -> bool:
        return True

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        await _deliver(request, self.when, self.seconds_late)
        raise self.error("the connection broke", request=request.http_request)


@dataclass(frozen=True)
class ErrorStatus(AnswerFault):
    """A proxy or gateway answers instead of the cloud.

    Attributes:
        retry_after: the text of the header; "+7" stands for the date in 7 seconds.
    """

    status: int
    when: When = "never"
    seconds_late: float = 1.0
    retry_after: str = ""

    @property
    def may_complete_later(self) -> bool:
        return self.status in MAY_COMPLETE_LATER

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        await _deliver(request, self.when, self.seconds_late)
        headers = {"retry-after": self._advice(request)} if self.retry_after else {}
        body = {"status": False, "message": "SECRET of a gateway"}
        return httpx.Response(self.status, json=body, headers=headers, request=request.http_request)

    def _advice(self, request: InFlightRequest) -> str:
        if not self.retry_after.startswith("+"):
            return self.retry_after
        moment = request.time.now() + timedelta(seconds=float(self.retry_after))
        return format_datetime(moment, usegmt=True)


@dataclass(frozen=True)
class TruncatedBody(AnswerFault):
    """Only a part of the answer arrives; if `torn`, the connection visibly breaks off."""

    torn: bool = True

    @property
    def may_complete_later(self) -> bool:
        return True

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        answer = await request.deliver()
        body = await answer.aread()
        part = _PartialBody(body[: len(body) // 2], torn=self.torn)
        headers = {"content-type": "application/json"}
        return httpx.Response(answer.status_code, headers=headers, stream=part)


@dataclass(frozen=True)
class WrongBody(AnswerFault):
    """The body is not the cloud's; neither is the status, if one is given."""

    body: bytes = b"<html><title>Sign in</title></html>"
    content_type: str = "text/html"
    status: int = 0

    @property
    def may_complete_later(self) -> bool:
        return True

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        answer = await request.deliver()
        status = self.status or answer.status_code
        headers = {"content-type": self.content_type}
        return httpx.Response(status, headers=headers, content=self.body)


@dataclass(frozen=True)
class WrongContentType(Fault):
    """The body is the cloud's, but its content type is wrong."""

    content_type: str = "text/plain; charset=utf-7"

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        answer = await request.deliver()
        headers = {"content-type": self.content_type}
        return httpx.Response(answer.status_code, headers=headers, content=await answer.aread())


@dataclass(frozen=True)
class OthersChange(Fault):
    """Someone else changes the target just before the request arrives."""

    action: OthersAction

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        request.let_others(self.action)
        return await request.deliver()


@dataclass(frozen=True)
class BusyWhileOthersChange(AnswerFault):
    """The cloud is busy, and someone else changes the target before the next try."""

    action: OthersAction
    retry_after: str = ""

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        request.let_others(self.action)
        return await ErrorStatus(429, retry_after=self.retry_after).carry(request)


class ServerKilledError(BaseException):
    """Ends a server as a kill does: nothing handles it, and nothing is recorded after it."""


@dataclass(frozen=True)
class Kill(AnswerFault):
    """The server is killed while the cloud executes its request, which takes some seconds."""

    seconds_late: float

    @property
    def may_complete_later(self) -> bool:
        return True

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        request.deliver_after(self.seconds_late)
        raise ServerKilledError


@dataclass(frozen=True)
class SentTwice(AnswerFault):
    """A proxy sends the request twice; the server receives only the second answer."""

    async def carry(self, request: InFlightRequest) -> httpx.Response:
        await (await request.deliver()).aread()
        return await request.deliver()


class _PartialBody(httpx.AsyncByteStream):
    def __init__(self, part: bytes, *, torn: bool) -> None:
        self._part = part
        self._torn = torn

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._part
        if self._torn:
            raise httpx.RemoteProtocolError("closed in the middle of the body")


async def _deliver(request: InFlightRequest, when: When, seconds_late: float) -> None:
    if when == "before":
        await (await request.deliver()).aread()
    elif when == "late":
        request.deliver_after(seconds_late)
