"""The fault transport: passes requests to the embedded cloud with the faults of a plan.

It also logs every request that left a server, and the cloud's answer.
"""

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import cast

import anyio
import httpx

from tests.faults.clocks import FaultTime
from tests.faults.faults import Fault, OthersAction

DEFAULT_TIMEOUT_SECONDS = 10.0


@dataclass
class FaultPlan:
    """The faults of the next requests.

    Attributes:
        reads: faults of the reads before the first write, in order; later reads have none.
        writes: faults of the writes.
        lookups: faults of the reads after the first write.
        always: the fault of every request as long as it is set, instead of the others.
    """

    reads: list[Fault] = field(default_factory=list[Fault])
    writes: list[Fault] = field(default_factory=list[Fault])
    lookups: list[Fault] = field(default_factory=list[Fault])
    always: Fault | None = None
    written: bool = False

    def replace_with(self, other: "FaultPlan") -> None:
        """Take over the faults of another plan."""
        self.__dict__.update(other.__dict__)

    def next(self, *, writing: bool) -> Fault:
        self.written = self.written or writing
        if self.always is not None:
            return self.always
        faults = self.writes if writing else self.lookups if self.written else self.reads
        return faults.pop(0) if faults else Fault()


@dataclass(frozen=True)
class Delivery:
    """One request that the cloud received: when, and the status of its answer.

    Attributes:
        tick: the tick after it was executed.
        time: seconds of the monotonic clock.
        status: the status of the answer.
    """

    tick: int
    time: float
    status: int

    @property
    def accepted(self) -> bool:
        return self.status < 300


@dataclass(eq=False)
class Exchange:
    """One request that left a server.

    Attributes:
        server: number of the server.
        started_tick: the tick at which it left.
        attempts: ids of the attempts that were open in the ledger at that moment.
        deliveries: what the cloud received; more than one if a proxy repeats the request.
        answered: the server received the cloud's own answer.
        answer: the last answer of the cloud.
    """

    server: int
    started_tick: int
    method: str
    path: str
    search: str
    name: str
    fault: Fault
    attempts: list[str] = field(default_factory=list[str])
    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    answered: bool = False
    answer: httpx.Response = field(default_factory=lambda: httpx.Response(503), repr=False)

    @property
    def writing(self) -> bool:
        return self.method != "GET"

    @property
    def accepted_count(self) -> int:
        return sum(delivery.accepted for delivery in self.deliveries)


async def do_nothing(_: Exchange) -> None:
    """The default hook."""


def change_nothing(_action: OthersAction, _exchange: Exchange) -> None:
    """The default hook for changes by others."""


@dataclass
class ExchangeLog:
    """All exchanges of all servers, in order.

    Attributes:
        delayed: requests that the cloud receives later, and when.
        on_request: awaited with every exchange before it leaves its server.
        max_late_seconds: the time after which the effect of a broken request shows at the latest.
        on_others: lets someone else change what an exchange is about.
    """

    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    delayed: "list[tuple[float, _InFlight]]" = field(
        default_factory=list["tuple[float, _InFlight]"]
    )
    ticks: Iterator[int] = field(default_factory=itertools.count)
    delivering: anyio.Lock = field(default_factory=anyio.Lock)
    on_request: Callable[[Exchange], Awaitable[None]] = do_nothing
    max_late_seconds: float = float("inf")
    on_others: Callable[[OthersAction, Exchange], None] = change_nothing

    @property
    def writes(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.writing]

    async def deliver_delayed(self, until: float = float("inf")) -> None:
        """Deliver the delayed requests that are due; concurrent callers wait for it."""
        async with self.delivering:
            due = sorted(
                (item for item in self.delayed if item[0] <= until), key=lambda item: item[0]
            )
            self.delayed = [item for item in self.delayed if item[0] > until]
            for _, request in sorted(due, key=itemgetter(0)):
                await (await request.deliver()).aread()


class FaultTransport(httpx.AsyncBaseTransport):
    """Passes requests to `inner`, with the faults of `plan`.

    Args:
        inner: the transport of the cloud.
        plan: the faults.
        log: records the exchanges.
        time: the time that faults see and change.
        server: number of the server that uses this transport.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        plan: FaultPlan,
        log: ExchangeLog,
        time: FaultTime,
        server: int = 0,
    ) -> None:
        self._inner = inner
        self._plan = plan
        self._log = log
        self._server = server
        self.time = time

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._log.deliver_delayed(self.time.monotonic())
        fault = self._plan.next(writing=request.method != "GET")
        exchange = self._record(request, fault)
        await self._log.on_request(exchange)
        answer = await fault.carry(_InFlight(self, request, exchange))
        exchange.answered = fault.answer_intact
        return answer

    def let_others(self, action: OthersAction, exchange: Exchange) -> None:
        self._log.on_others(action, exchange)

    def delay(self, request: "_InFlight", seconds: float) -> None:
        if not request.fault.may_complete_later:
            seconds = min(seconds, self._log.max_late_seconds)
        self._log.delayed.append((self.time.monotonic() + seconds, request))

    async def deliver(self, request: httpx.Request, exchange: Exchange) -> httpx.Response:
        copy = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        with anyio.CancelScope(shield=True):  # the cloud ignores a cancelled caller
            exchange.answer = await self._inner.handle_async_request(copy)
        status = exchange.answer.status_code
        delivery = Delivery(next(self._log.ticks), self.time.monotonic(), status)
        exchange.deliveries.append(delivery)
        return exchange.answer

    def _record(self, request: httpx.Request, fault: Fault) -> Exchange:
        exchange = Exchange(
            self._server,
            next(self._log.ticks),
            request.method,
            request.url.path,
            request.url.params.get("search", ""),
            _name_in(request),
            fault,
        )
        self._log.exchanges.append(exchange)
        return exchange

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(frozen=True)
class _InFlight:
    _transport: FaultTransport
    http_request: httpx.Request
    _exchange: Exchange

    @property
    def fault(self) -> Fault:
        return self._exchange.fault

    @property
    def timeout(self) -> float:
        limits = cast("dict[str, float | None]", self.http_request.extensions.get("timeout", {}))
        return limits.get("read") or DEFAULT_TIMEOUT_SECONDS

    @property
    def time(self) -> FaultTime:
        return self._transport.time

    async def deliver(self) -> httpx.Response:
        return await self._transport.deliver(self.http_request, self._exchange)

    def deliver_after(self, seconds: float) -> None:
        self._transport.delay(self, seconds)

    def let_others(self, action: OthersAction) -> None:
        self._transport.let_others(action, self._exchange)


def _name_in(request: httpx.Request) -> str:
    """Return the name of what a create or restore would make."""
    if request.method != "POST":
        return ""
    body = cast("dict[str, str]", json.loads(request.content))
    return body.get("new_vm_name") or body.get("name", "")
