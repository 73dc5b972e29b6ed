"""A look at the cloud for whoever asks why it does not work: reads only, one at a time."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, cast

import httpx

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.cloud.parsing import get_list
from snapshot_mcp.cloud.scheduler import RequestScheduler
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import ProtocolError, SnapshotMcpError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, sanitize

MAX_PERMISSIONS = 1_000
_HALF_A_SECOND = 0.5


class ReadCheck(NamedTuple):
    """One read that was tried: what of, how many seconds it took, and why it failed, if it did."""

    subject: str
    seconds: float
    failure: SnapshotMcpError | None


class ProbeResult(NamedTuple):
    """What a look told.

    Attributes:
        reads: those that were tried, in their order.
        permissions: what the cloud says that the key may do; None where it does not say.
    """

    checks: tuple[ReadCheck, ...]
    permissions: tuple[str, ...] | None


class ClockSkewTransport(httpx.AsyncBaseTransport):
    """A way to the cloud that compares the clock of each answer with ours.

    Args:
        transport: sends the requests.
        clock: our time.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._skews: list[float] = []

    @property
    def skew(self) -> float | None:
        """How many seconds the cloud's clock is ahead of ours; None where it told no time."""
        return min(self._skews, key=abs, default=None)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        response = await self._transport.handle_async_request(request)
        told = _parse_date(response.headers.get("date", ""))
        if told is not None:
            # The header holds whole seconds, and the answer has been on its way for a moment.
            ahead = (told - self._clock.now()).total_seconds() + _HALF_A_SECOND
            self._skews.append(ahead)
        return response

    async def aclose(self) -> None:
        """Close what it goes by."""
        await self._transport.aclose()


async def probe(connection: Connection, clock: Clock, *, timeout_seconds: float) -> ProbeResult:
    """Try what the server reads; nothing is sent that could change anything.

    Args:
        connection: reaches the cloud.
        clock: the time, and the way to wait.
        timeout_seconds: limit for one call.
    """
    api = ApiClient(
        connection, RequestScheduler(clock, CircuitBreaker()), clock, timeout=timeout_seconds
    )
    reader = CloudReader(api)
    first = await _time_read(
        "snapshots", lambda: reader.get_snapshots_page(1, 1, "", once=True), clock
    )
    if first.failure is not None:
        return ProbeResult((first,), None)
    again = await _time_read(
        "snapshots", lambda: reader.get_snapshots_page(1, 1, "", once=True), clock
    )
    machines = await _time_read("VMs", lambda: reader.get_virtual_machines_page(1, 1, ""), clock)
    prices = await _time_read("prices", reader.get_prices, clock)
    return ProbeResult((first, again, machines, prices), await _fetch_permissions(api))


async def _time_read(
    subject: str, read: Callable[[], Awaitable[object]], clock: Clock
) -> ReadCheck:
    start = clock.monotonic()
    failure = None
    try:
        await read()
    except SnapshotMcpError as error:
        failure = error
    return ReadCheck(subject, clock.monotonic() - start, failure)


async def _fetch_permissions(api: ApiClient) -> tuple[str, ...] | None:
    """Source: `GET /auth/users/me/permissions` in the OpenAPI document of the vendor's SDKs."""
    try:
        return await api.read(
            "/auth/users/me/permissions", "the permissions", _parse_permissions, once=True
        )
    except SnapshotMcpError:
        return None


def _parse_permissions(body: object) -> tuple[str, ...]:
    if not isinstance(body, Mapping):
        raise ProtocolError("The cloud's answer is no object.")
    entries = get_list(cast("Mapping[str, object]", body), "permissions")
    told = map(_parse_permission, entries[:MAX_PERMISSIONS])
    return tuple(dict.fromkeys(it for it in told if it))


def _parse_permission(entry: object) -> str:
    if not isinstance(entry, Mapping):
        return ""
    fields = cast("Mapping[str, object]", entry)
    parts = (fields.get("resource"), fields.get("permission"))
    return ":".join(
        sanitize(it, MAX_NAME_LENGTH).text for it in parts if isinstance(it, str) and it
    )


def _parse_date(header: str) -> datetime | None:
    try:
        told = parsedate_to_datetime(header)
        return told.replace(tzinfo=UTC) if told.tzinfo is None else told
    except (ValueError, OverflowError):
        return None
