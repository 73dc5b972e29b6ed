"""Diagnostics of the cloud for `snapshot-mcp doctor`: sequential reads, no writes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Generic, NamedTuple, TypeVar, cast

import httpx

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.cloud.client import CloudReader, Page
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.cloud.parsing import get_list
from snapshot_mcp.cloud.scheduler import RequestScheduler
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import ProtocolError, SnapshotMcpError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, sanitize
from snapshot_mcp.models.costs import Contract, Credit

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_PERMISSIONS = 1_000
_MEAN_TRUNCATION_SECONDS = 0.5


class ReadCheck(NamedTuple, Generic[T_co]):
    """One attempted read.

    Attributes:
        subject: what was read.
        seconds: its duration.
        failure: why it failed; None if it did not.
        value: what it returned; None if it failed.
    """

    subject: str
    seconds: float
    failure: SnapshotMcpError | None
    value: T_co | None = None


class ProbeResult(NamedTuple):
    """The result of `probe`.

    Attributes:
        checks: the attempted reads, in order.
        permissions: the permissions of the API key; None if the cloud does not return them.
        credit: the credit of the account; None if it cannot be read.
        contracts: the contracts of the account, as far as they can be read.
    """

    checks: tuple[ReadCheck[object], ...]
    permissions: tuple[str, ...] | None
    credit: Credit | None = None
    contracts: Sequence[Contract] = ()


class ClockSkewTransport(httpx.AsyncBaseTransport):
    """A transport that compares the clock of each response with this machine's clock.

    Args:
        transport: sends the requests.
        clock: this machine's time.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._skews: list[float] = []

    @property
    def skew(self) -> float | None:
        """Seconds that the cloud's clock is ahead; None if no response had a date."""
        return min(self._skews, key=abs, default=None)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        response = await self._transport.handle_async_request(request)
        cloud_time = _parse_date(response.headers.get("date", ""))
        if cloud_time is not None:
            # The header has whole seconds, so on average it is half a second too early.
            skew = (cloud_time - self._clock.now()).total_seconds() + _MEAN_TRUNCATION_SECONDS
            self._skews.append(skew)
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


async def probe(connection: Connection, clock: Clock, *, timeout_seconds: float) -> ProbeResult:
    """Attempt the reads that the server needs, and stop if the first fails.

    Args:
        connection: the cloud.
        clock: source of time.
        timeout_seconds: limit for one call.
    """
    scheduler = RequestScheduler(clock, CircuitBreaker())
    api = ApiClient(connection, scheduler, clock, timeout=timeout_seconds)
    reader = CloudReader(api)

    async def check_snapshots() -> ReadCheck[Page]:
        return await _time_read(
            "snapshots", lambda: reader.get_snapshots_page(1, 1, "", retry=False), clock
        )

    first = await check_snapshots()
    if first.failure is not None:
        return ProbeResult((first,), None)
    second = await check_snapshots()  # without the time of connecting
    vms = await _time_read("VMs", lambda: reader.get_virtual_machines_page(1, 1, ""), clock)
    billing = reader.billing
    prices = await _time_read("prices", billing.get_prices, clock)
    stock = await _time_read("stock", billing.get_gpu_stock, clock)
    credit = await _time_read("credit", billing.get_credit, clock)
    contracts = await _time_read("contracts", billing.get_contracts, clock)
    return ProbeResult(
        (first, second, vms, prices, stock, credit, contracts),
        await _fetch_permissions(api),
        credit.value,
        contracts.value or (),
    )


async def _time_read(subject: str, read: Callable[[], Awaitable[T]], clock: Clock) -> ReadCheck[T]:
    start = clock.monotonic()
    value, failure = None, None
    try:
        value = await read()
    except SnapshotMcpError as error:
        failure = error
    return ReadCheck(subject, clock.monotonic() - start, failure, value)


async def _fetch_permissions(api: ApiClient) -> tuple[str, ...] | None:
    """Return the permissions of the API key; None if the cloud does not return them.

    Source: `GET /auth/users/me/permissions` in the OpenAPI document of the vendor's SDKs.
    """
    try:
        return await api.read(
            "/auth/users/me/permissions", "the permissions", _parse_permissions, retry=False
        )
    except SnapshotMcpError:
        return None


def _parse_permissions(body: object) -> tuple[str, ...]:
    if not isinstance(body, Mapping):
        raise ProtocolError("The cloud's answer is not a JSON object.")
    entries = get_list(cast("Mapping[str, object]", body), "permissions")
    permissions = map(_parse_permission, entries[:MAX_PERMISSIONS])
    return tuple(dict.fromkeys(filter(None, permissions)))


def _parse_permission(entry: object) -> str:
    if not isinstance(entry, Mapping):
        return ""
    fields = cast("Mapping[str, object]", entry)
    parts = (fields.get("resource"), fields.get("permission"))
    return ":".join(
        sanitize(part, MAX_NAME_LENGTH).text for part in parts if isinstance(part, str) and part
    )


def _parse_date(header: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(header)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date
    except (ValueError, OverflowError):
        return None
