"""What `snapshot-mcp doctor` tells of the cloud: reached, how fast, and what the key may do."""

from collections.abc import Iterator

from snapshot_mcp.cli.doctor.findings import Finding
from snapshot_mcp.cloud.connection import create_network_transport
from snapshot_mcp.cloud.diagnostics import ClockSkewTransport, ProbeResult, ReadCheck, probe
from snapshot_mcp.core.clock import SYSTEM_CLOCK
from snapshot_mcp.core.errors import ConfigurationError, ForbiddenError, UnauthorizedError
from snapshot_mcp.mcp_server.app import connection_over
from snapshot_mcp.settings.environment import Settings

MAX_SKEW_SECONDS = 30.0
_OURS = ("snapshot", "virtual", "vm", "image")
_MAX_PERMISSIONS = 12


async def cloud_of(settings: Settings) -> list[Finding]:
    """A few reads of the cloud that the settings name; of the embedded one, nothing is asked."""
    if settings.embedded:
        return [Finding("note", "cloud", "the embedded one, because there is no API key")]
    try:
        compared = ClockSkewTransport(create_network_transport(settings.api_url), SYSTEM_CLOCK)
    except ConfigurationError as error:
        return [Finding("bad", "cloud", str(error))]
    async with connection_over(compared, settings) as connection:
        seen = await probe(connection, SYSTEM_CLOCK, timeout_seconds=settings.timeout)
    return list(told(seen, compared.skew))


def told(seen: ProbeResult, skew: float | None) -> Iterator[Finding]:
    """What was seen, in findings; `skew` is how many seconds the cloud's clock is ahead of ours."""
    first = seen.checks[0]
    yield _reached(first, seen)
    if first.failure is None or isinstance(first.failure, UnauthorizedError | ForbiddenError):
        yield _accepted(first)
    if first.failure is None:
        yield from _rights(seen)
    if skew is not None:
        yield _clock(skew)


def _reached(first: ReadCheck, seen: ProbeResult) -> Finding:
    if first.failure is not None and not isinstance(
        first.failure, UnauthorizedError | ForbiddenError
    ):
        return Finding("bad", "cloud", str(first.failure))
    times = [it.seconds for it in seen.checks[:2]]
    later = f", then {_milliseconds(times[1])}" if len(times) > 1 else ""
    return Finding("ok", "cloud", f"reached in {_milliseconds(times[0])}{later}")


def _accepted(first: ReadCheck) -> Finding:
    match first.failure:
        case UnauthorizedError():
            return Finding("bad", "key", "the cloud does not accept it; check SNAPSHOT_MCP_API_KEY")
        case ForbiddenError():
            return Finding("bad", "key", "accepted, but it may not read snapshots")
        case _:
            return Finding("ok", "key", "accepted")


def _rights(seen: ProbeResult) -> Iterator[Finding]:
    for read in {it.subject: it for it in seen.checks}.values():
        if read.failure is None:
            yield Finding("ok", "key", f"reads {read.subject}")
        else:
            yield Finding("note", "key", f"does not read {read.subject}: {read.failure}")
    if seen.permissions is None:
        yield Finding(
            "note", "key", "what it may change is not told by the cloud, and nothing was tried"
        )
        return
    ours = [it for it in seen.permissions if any(word in it.lower() for word in _OURS)]
    shown = ", ".join(ours[:_MAX_PERMISSIONS]) or "nothing about snapshots or VMs"
    more = f" and {len(ours) - _MAX_PERMISSIONS} more" if len(ours) > _MAX_PERMISSIONS else ""
    yield Finding("ok", "key", f"may, as the cloud says: {shown}{more}")


def _clock(skew: float) -> Finding:
    if abs(skew) <= MAX_SKEW_SECONDS:
        return Finding("ok", "clock", "agrees with the cloud's")
    way = "ahead of" if skew < 0 else "behind"
    return Finding(
        "note", "clock", f"this machine is {abs(skew):.0f} s {way} the cloud: ages are told wrongly"
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms"
