"""The fault transport: carries requests to the embedded cloud as badly as a plan says.

It also is the witness of what left the server: every request, and what the cloud made of it.
"""

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import anyio
import httpx

from tests.faults.clocks import FaultTime
from tests.faults.faults import Fault

DEFAULT_TIMEOUT_SECONDS = 10.0


@dataclass
class FaultPlan:
    """What will happen to the next requests.

    Attributes:
        reads: faults of the reads before the first write, in order; then there are none.
        writes: faults of the writes.
        looks: faults of the reads after the first write.
        always: this happens to every request instead, until it is taken away.
    """

    reads: list[Fault] = field(default_factory=list[Fault])
    writes: list[Fault] = field(default_factory=list[Fault])
    looks: list[Fault] = field(default_factory=list[Fault])
    always: Fault | None = None
    written: bool = False

    def be(self, other: "FaultPlan") -> None:
        """Take over what another plan says."""
        self.__dict__.update(other.__dict__)

    def next(self, *, writing: bool) -> Fault:
        self.written = self.written or writing
        if self.always is not None:
            return self.always
        faults = self.writes if writing else self.looks if self.written else self.reads
        return faults.pop(0) if faults else Fault()


@dataclass(frozen=True)
class Delivery:
    """One request that the cloud got: when, and what it answered."""

    tick: int
    status: int

    @property
    def accepted(self) -> bool:
        return self.status < 300


@dataclass(eq=False)
class Exchange:
    """One request that left a server.

    Attributes:
        server: which of the servers.
        began: tick at which it left.
        attempts: ids of the attempts that the ledger held as sent and open at that moment.
        deliveries: what the cloud got of it; more than one if something on the way repeats it.
        answered: the server was given the cloud's own answer.
        answer: the last answer of the cloud.
    """

    server: int
    began: int
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
    """What is done about an exchange as long as nobody wants anything."""


@dataclass
class ExchangeLog:
    """All that passed by, of all servers, in order.

    Attributes:
        late: what the cloud will get later, and when.
        on_leaving: awaited with every exchange as it leaves its server.
    """

    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    late: "list[tuple[float, _InFlight]]" = field(default_factory=list["tuple[float, _InFlight]"])
    ticks: Iterator[int] = field(default_factory=itertools.count)
    delivering: anyio.Lock = field(default_factory=anyio.Lock)
    on_leaving: Callable[[Exchange], Awaitable[None]] = do_nothing

    @property
    def writes(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.writing]

    async def deliver_late(self, until: float = float("inf")) -> None:
        """Let the cloud have what was late, as far as its time has come; others wait for it."""
        async with self.delivering:
            due = sorted((it for it in self.late if it[0] <= until), key=lambda it: it[0])
            self.late = [it for it in self.late if it[0] > until]
            for _, wire in due:
                await (await wire.deliver()).aread()


class FaultTransport(httpx.AsyncBaseTransport):
    """Carries requests to `inner`, with the faults of `plan`.

    Args:
        inner: the way to the cloud.
        plan: what happens to them.
        log: where they are noted.
        time: the time.
        server: which of the servers sends through here.
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
        await self._log.deliver_late(self.time.elapsed())
        fault = self._plan.next(writing=request.method != "GET")
        exchange = self._record(request, fault)
        await self._log.on_leaving(exchange)
        answer = await fault.carry(_InFlight(self, request, exchange))
        exchange.answered = fault.answer_intact
        return answer

    def delay(self, wire: "_InFlight", seconds: float) -> None:
        self._log.late.append((self.time.elapsed() + seconds, wire))

    async def deliver(self, request: httpx.Request, exchange: Exchange) -> httpx.Response:
        copy = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        with anyio.CancelScope(shield=True):  # the cloud goes on, whoever has left
            exchange.answer = await self._inner.handle_async_request(copy)
        status = exchange.answer.status_code
        exchange.deliveries.append(Delivery(next(self._log.ticks), status))
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
    request: httpx.Request
    _exchange: Exchange

    @property
    def timeout(self) -> float:
        limits = cast("dict[str, float | None]", self.request.extensions.get("timeout", {}))
        return limits.get("read") or DEFAULT_TIMEOUT_SECONDS

    @property
    def time(self) -> FaultTime:
        return self._transport.time

    async def deliver(self) -> httpx.Response:
        return await self._transport.deliver(self.request, self._exchange)

    def later(self, seconds: float) -> None:
        self._transport.delay(self, seconds)


def _name_in(request: httpx.Request) -> str:
    """The name of what a create or restore would make."""
    if request.method != "POST":
        return ""
    body = cast("dict[str, str]", json.loads(request.content))
    return body.get("new_vm_name") or body.get("name", "")
