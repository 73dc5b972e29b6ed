"""Checks of `snapshot-mcp doctor` on the cloud: connection, key, permissions, clock."""

from collections.abc import Iterator

from snapshot_mcp.cli.doctor.findings import Finding
from snapshot_mcp.cloud.connection import create_network_transport
from snapshot_mcp.cloud.connection_failures import Destination, describe_remedy, find_destination
from snapshot_mcp.cloud.diagnostics import ClockSkewTransport, ProbeResult, ReadCheck, probe
from snapshot_mcp.core.clock import SYSTEM_CLOCK
from snapshot_mcp.core.errors import ConfigurationError, ForbiddenError, UnauthorizedError
from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.mcp_server.app import connection_over
from snapshot_mcp.models.costs import CURRENCY
from snapshot_mcp.settings.environment import Settings

MAX_SKEW_SECONDS = 30.0
_API_URL = "SNAPSHOT_MCP_API_URL"
_RELEVANT_WORDS = ("snapshot", "virtual", "vm", "image")
_MAX_PERMISSIONS = 12
_MAX_CONTRACTS = 5


async def check_cloud(settings: Settings) -> list[Finding]:
    """Send a few reads to the configured cloud; the embedded cloud needs no check."""
    if settings.embedded:
        state = "ok" if settings.embedded_requested else "note"
        findings = [Finding(state, "cloud", f"embedded cloud, because {settings.embedded_reason}")]
        if options := settings.embedded_misbehaviour:
            findings.append(Finding("note", "cloud", f"it misbehaves on purpose: {options}"))
        return findings
    try:
        transport = ClockSkewTransport(create_network_transport(settings.api_url), SYSTEM_CLOCK)
    except ConfigurationError as error:
        return [Finding("bad", "cloud", str(error))]
    async with connection_over(transport, settings) as connection:
        result = await probe(connection, SYSTEM_CLOCK, timeout_seconds=settings.timeout)
    destination = find_destination(settings.api_url, _API_URL)
    return list(cloud_findings(result, transport.skew, destination))


def cloud_findings(
    result: ProbeResult, skew: float | None, destination: Destination
) -> Iterator[Finding]:
    """Yield the findings of a check.

    Args:
        result: the reads and their results.
        skew: seconds by which the cloud's clock is ahead of this machine's; None if unknown.
        destination: the address that was contacted.
    """
    first = result.checks[0]
    yield _connection_finding(first, result, destination)
    if first.failure is None or isinstance(first.failure, UnauthorizedError | ForbiddenError):
        yield _key_finding(first, destination)
    if first.failure is None:
        yield from _permission_findings(result)
        yield from _cost_findings(result)
    if skew is not None:
        yield _clock_finding(skew)


def _connection_finding(
    first: ReadCheck[object], result: ProbeResult, destination: Destination
) -> Finding:
    failure = first.failure
    if failure is not None and not isinstance(failure, UnauthorizedError | ForbiddenError):
        remedy = describe_remedy(failure, destination)
        return Finding("bad", "cloud", remedy or f"{destination.host}: {failure}")
    times = [read.seconds for read in result.checks[:2]]
    second = f", then {_milliseconds(times[1])}" if len(times) > 1 else ""
    through = f" through the proxy {destination.proxy}" if destination.proxy else ""
    place = f"{destination.host}{through}"
    return Finding("ok", "cloud", f"answered in {_milliseconds(times[0])}{second}, at {place}")


def _key_finding(first: ReadCheck[object], destination: Destination) -> Finding:
    match first.failure:
        case UnauthorizedError():
            return Finding(
                "bad",
                "key",
                f"{destination.host} does not accept it; copy it again from the cloud's console"
                f" into SNAPSHOT_MCP_API_KEY, and check that {destination.setting} is its cloud",
            )
        case ForbiddenError():
            return Finding(
                "bad",
                "key",
                "accepted, but it may not read snapshots; an administrator can grant that",
            )
        case _:
            return Finding("ok", "key", "accepted")


def _permission_findings(result: ProbeResult) -> Iterator[Finding]:
    for read in {read.subject: read for read in result.checks}.values():
        if read.failure is None:
            yield Finding("ok", "key", f"may read {read.subject}")
        else:
            yield Finding("note", "key", f"cannot read {read.subject}: {read.failure}")
    if result.permissions is None:
        yield Finding(
            "note", "key", "the cloud does not say what it may change, and no change was tried"
        )
        return
    relevant = [
        permission
        for permission in result.permissions
        if any(word in permission.lower() for word in _RELEVANT_WORDS)
    ]
    shown = ", ".join(relevant[:_MAX_PERMISSIONS]) or "none for snapshots or VMs"
    hidden_count = len(relevant) - _MAX_PERMISSIONS
    more = f" and {hidden_count} more" if hidden_count > 0 else ""
    yield Finding("ok", "key", f"permissions reported by the cloud: {shown}{more}")


def _cost_findings(result: ProbeResult) -> Iterator[Finding]:
    credit = result.credit
    if credit is not None:
        amount = f"{credit.amount:.2f} {CURRENCY}"
        if credit.can_create_vm is False:
            yield Finding("bad", "credit", f"{amount}: the cloud creates no VM with it")
        else:
            yield Finding("ok", "credit", amount)
    for contract in result.contracts[:_MAX_CONTRACTS]:
        end = f" until {contract.ends_at:%Y-%m-%d}" if contract.ends_at else ""
        state = cell_text(contract.status or None)
        text = f"contract_id {contract.id} {quoted(contract.description)}: {state}{end}"
        yield Finding("ok", "contract", text)


def _clock_finding(skew: float) -> Finding:
    if abs(skew) <= MAX_SKEW_SECONDS:
        return Finding("ok", "clock", "agrees with the cloud's clock")
    direction = "ahead of" if skew < 0 else "behind"
    return Finding(
        "note",
        "clock",
        f"this machine is {abs(skew):.0f} s {direction} the cloud, so snapshot ages are wrong",
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms"
