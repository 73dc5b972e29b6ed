"""What can happen to one request between the server and the cloud.

Each fault says by itself whether the cloud ever sees the request, and what the server sees.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Literal, Protocol

import httpx

from tests.faults.clocks import FaultTime

When = Literal["never", "before", "late"]
"""When the cloud does what a broken request asks for: never, before it breaks, or later on."""

MAY_COMPLETE_LATER = frozenset({408, 502, 504})
"""Statuses after which a server behind a gateway may go on."""


class InFlightRequest(Protocol):
    """One request on its way."""

    @property
    def request(self) -> httpx.Request:
        """What was sent."""
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
        """Let the cloud have it."""
        ...

    def later(self, seconds: float) -> None:
        """Let the cloud have it after so many seconds, when nobody waits for an answer."""
        ...


@dataclass(frozen=True)
class Fault:
    """No fault: the request reaches the cloud, and its answer comes back.

    Attributes:
        faithful: the server is given the very answer of the cloud.
        leaves_open: as far as the sender can know, it may take effect at any later time.
    """

    @property
    def answer_intact(self) -> bool:
        return True

    @property
    def may_complete_later(self) -> bool:
        return False

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        return await wire.deliver()


@dataclass(frozen=True)
class ClockJump(Fault):
    """Somebody sets the server's time of day."""

    hours: float

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        wire.time.jump(self.hours)
        return await wire.deliver()


@dataclass(frozen=True)
class Delay(Fault):
    """The request, or its answer, takes its time; the sender waits as long as its limit."""

    seconds: float

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        await wire.time.take(min(self.seconds, wire.timeout * 0.9))
        return await wire.deliver()


@dataclass(frozen=True)
class AnswerFault(Fault):
    """The server is not given what the cloud answered."""

    @property
    def answer_intact(self) -> bool:
        return False


@dataclass(frozen=True)
class NoAnswer(AnswerFault):
    """No answer within the sender's limit; the cloud may get to it after all."""

    when: When
    seconds_late: float = 1.0

    @property
    def may_complete_later(self) -> bool:
        return True

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        await _deliver(wire, self.when, self.seconds_late + wire.timeout)
        await wire.time.take(wire.timeout)
        raise httpx.ReadTimeout("no answer in time", request=wire.request)


@dataclass(frozen=True)
class ConnectionRefused(AnswerFault):
    """There is no connection, so nothing is sent."""

    error: type[httpx.TransportError] = httpx.ConnectError

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        raise self.error("no connection", request=wire.request)


@dataclass(frozen=True)
class ConnectionReset(AnswerFault):
    """The connection breaks. What the cloud got to see takes effect within a few seconds."""

    when: When
    seconds_late: float = 1.0
    error: type[httpx.TransportError] = httpx.ReadError

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        await _deliver(wire, self.when, self.seconds_late)
        raise self.error("the connection broke", request=wire.request)


@dataclass(frozen=True)
class ErrorStatus(AnswerFault):
    """Something on the way answers in the cloud's place.

    Attributes:
        retry_after: the header's text; "+7" means the date in 7 seconds.
    """

    status: int
    when: When = "never"
    seconds_late: float = 1.0
    retry_after: str = ""

    @property
    def may_complete_later(self) -> bool:
        return self.status in MAY_COMPLETE_LATER

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        await _deliver(wire, self.when, self.seconds_late)
        headers = {"retry-after": self._advice(wire)} if self.retry_after else {}
        body = {"status": False, "message": "SECRET of a gateway"}
        return httpx.Response(self.status, json=body, headers=headers, request=wire.request)

    def _advice(self, wire: InFlightRequest) -> str:
        if not self.retry_after.startswith("+"):
            return self.retry_after
        moment = wire.time.now() + timedelta(seconds=float(self.retry_after))
        return format_datetime(moment, usegmt=True)


@dataclass(frozen=True)
class TruncatedBody(AnswerFault):
    """Only a part of the answer comes; `torn` says whether the end looks like a break."""

    torn: bool = True

    @property
    def may_complete_later(self) -> bool:
        return not self.torn

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        answer = await wire.deliver()
        whole = await answer.aread()
        part = _PartialBody(whole[: len(whole) // 2], torn=self.torn)
        headers = {"content-type": "application/json"}
        return httpx.Response(answer.status_code, headers=headers, stream=part)


@dataclass(frozen=True)
class WrongBody(AnswerFault):
    """The body is not the cloud's; nor is the status, if one is given."""

    body: bytes = b"<html><title>Sign in</title></html>"
    content_type: str = "text/html"
    status: int = 0

    @property
    def may_complete_later(self) -> bool:
        return True

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        answer = await wire.deliver()
        status = self.status or answer.status_code
        headers = {"content-type": self.content_type}
        return httpx.Response(status, headers=headers, content=self.body)


@dataclass(frozen=True)
class WrongContentType(Fault):
    """The body is the cloud's; what it is said to be is wrong."""

    content_type: str = "text/plain; charset=utf-7"

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        answer = await wire.deliver()
        headers = {"content-type": self.content_type}
        return httpx.Response(answer.status_code, headers=headers, content=await answer.aread())


@dataclass(frozen=True)
class SentTwice(AnswerFault):
    """A proxy sends the request again by itself; only the second answer comes through."""

    async def carry(self, wire: InFlightRequest) -> httpx.Response:
        await (await wire.deliver()).aread()
        return await wire.deliver()


class _PartialBody(httpx.AsyncByteStream):
    def __init__(self, part: bytes, *, torn: bool) -> None:
        self._part = part
        self._torn = torn

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._part
        if self._torn:
            raise httpx.RemoteProtocolError("closed in the midst of the body")


async def _deliver(wire: InFlightRequest, when: When, seconds_late: float) -> None:
    if when == "before":
        await (await wire.deliver()).aread()
    elif when == "late":
        wire.later(seconds_late)
