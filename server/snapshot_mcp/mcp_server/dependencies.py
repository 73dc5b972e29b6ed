"""Opens what the tools work with, at the first call: the start knows nothing of it."""

import secrets
from contextlib import AsyncExitStack

from snapshot_mcp.cloud.api import Api
from snapshot_mcp.cloud.circuit_breaker import Circuit
from snapshot_mcp.cloud.client import CloudReader, CloudWriter
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.cloud.scheduler import Traffic
from snapshot_mcp.consent.gate import SECONDS_OF_AN_HOUR, Gate
from snapshot_mcp.consent.plan_tokens import Tokens
from snapshot_mcp.consent.signing_key import signing_key
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.request_context import current_caller
from snapshot_mcp.ledger.backend import Records, open_records
from snapshot_mcp.ledger.chain import RateLimit
from snapshot_mcp.operations import Operations
from snapshot_mcp.operations.changing import Changes
from snapshot_mcp.operations.images import Images
from snapshot_mcp.operations.panel import Picture
from snapshot_mcp.operations.queries import Views
from snapshot_mcp.operations.recovery import settle
from snapshot_mcp.operations.retention import Retention
from snapshot_mcp.operations.review import Reviews
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.settings.environment import EMBEDDED_URL, Settings


async def open_operations(
    settings: Settings,
    policy: Policy,
    clock: Clock,
    circuit: Circuit,
    connection: Connection,
    stack: AsyncExitStack,
) -> Operations:
    """The operations, with what an earlier process left open settled.

    Args:
        settings: what the environment says.
        policy: what the operator forbids.
        clock: the time, and the way to wait.
        circuit: knows whether the cloud answers.
        connection: the way to the cloud.
        stack: closes the databases.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    folder = settings.data_folder()
    records = stack.enter_context(open_records(folder, settings.database_url, clock.now))
    traffic = Traffic(clock, circuit, records.allowance)
    api = Api(connection, traffic, clock, timeout=settings.timeout)
    gate = _gate(settings, policy, clock, records, CloudWriter(api))
    reader = CloudReader(api)
    await settle(records.ledger, reader, clock)
    return Operations(
        Views(reader, clock),
        Changes(reader, gate, clock, policy),
        Retention(reader, gate, clock, policy),
        Images(reader, gate, clock, policy),
        Reviews(reader, clock),
        Picture(reader, clock, policy),
    )


def _gate(
    settings: Settings, policy: Policy, clock: Clock, records: Records, writer: CloudWriter
) -> Gate:
    tokens = Tokens(
        key=signing_key(settings),
        principal=_principal,
        cloud=EMBEDDED_URL if settings.embedded else settings.api_url,
        now=clock.now,
    )
    hourly = {
        "delete_snapshot": policy.limits.deletes_per_hour,
        "restore_snapshot": policy.limits.restores_per_hour,
    }
    return Gate(
        writer=writer,
        ledger=records.ledger,
        tokens=tokens,
        consent=settings.consent,
        limits={
            tool: RateLimit(events, SECONDS_OF_AN_HOUR)
            for tool, events in hourly.items()
            if events is not None
        },
        principal=_principal,
        clock=clock,
        new_id=lambda: secrets.token_urlsafe(12),
        others=records.alone,
    )


def _principal() -> str:
    return current_caller().principal
