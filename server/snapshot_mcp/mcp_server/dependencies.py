"""Dependencies of the operations, opened at the first call to keep the start of the server fast."""

import secrets
from contextlib import AsyncExitStack
from functools import partial

from snapshot_mcp.cloud.api import ApiClient
from snapshot_mcp.cloud.circuit_breaker import CircuitBreaker
from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.cloud.scheduler import RequestScheduler
from snapshot_mcp.cloud.writer import CloudWriter
from snapshot_mcp.consent.change_queue import ChangeQueue
from snapshot_mcp.consent.gate import SECONDS_PER_HOUR, Gate
from snapshot_mcp.consent.plan_tokens import PlanTokens
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.request_context import current_principal
from snapshot_mcp.ledger.backend import open_ledger_backend
from snapshot_mcp.ledger.base import Ledger
from snapshot_mcp.ledger.chain import RateLimit
from snapshot_mcp.operations import Operations
from snapshot_mcp.operations.consistent_reader import ConsistentReader
from snapshot_mcp.operations.create_image import create_image
from snapshot_mcp.operations.create_snapshot import create_snapshot
from snapshot_mcp.operations.delete_rehearsal_vm import delete_rehearsal_vm
from snapshot_mcp.operations.delete_snapshot import delete_snapshot
from snapshot_mcp.operations.own_writes import OwnWrites
from snapshot_mcp.operations.panel import PanelQueries
from snapshot_mcp.operations.planned_write import WriteContext
from snapshot_mcp.operations.queries import Queries
from snapshot_mcp.operations.recovery import Recovery
from snapshot_mcp.operations.restore_snapshot import restore_snapshot
from snapshot_mcp.operations.retention import RetentionOperations
from snapshot_mcp.operations.review import ReviewOperations
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.settings.environment import Settings


async def open_operations(
    settings: Settings,
    policy: Policy,
    clock: Clock,
    circuit: CircuitBreaker,
    connection: Connection,
    stack: AsyncExitStack,
) -> Operations:
    """Open the ledger, settle the attempts of earlier processes, and return the operations.

    Args:
        settings: the settings.
        policy: the operator's policy.
        clock: source of time.
        circuit: records whether the cloud answers.
        connection: the connection to the cloud.
        stack: closes the databases.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    folder = settings.data_folder()
    backend = stack.enter_context(
        open_ledger_backend(folder, settings.database_url, clock.now, settings.find_signing_key())
    )
    scheduler = RequestScheduler(clock, circuit, backend.rate_limiter)
    api = ApiClient(connection, scheduler, clock, timeout=settings.timeout)
    reader = CloudReader(api)
    own_writes = OwnWrites(backend.ledger, settings.cloud, clock.now)
    shown = ConsistentReader(api, own_writes, clock, decides=False)
    decisive = ConsistentReader(api, own_writes, clock, decides=True)
    changes = ChangeQueue(backend.change_lock, scheduler.wait_for_share)
    gate = _build_gate(settings, policy, clock, backend.ledger, reader, CloudWriter(api), changes)
    context = WriteContext(decisive, reader, gate, clock, policy)
    recovery = Recovery(backend.ledger, reader, clock, settings.cloud)
    await recovery.settle()
    return Operations(
        Queries(shown, clock),
        partial(create_snapshot, context),
        partial(restore_snapshot, context),
        partial(delete_snapshot, context),
        partial(delete_rehearsal_vm, context),
        partial(create_image, context),
        RetentionOperations(context),
        ReviewOperations(shown, clock),
        PanelQueries(shown, clock, policy),
        recovery.settle_again,
    )


def _build_gate(
    settings: Settings,
    policy: Policy,
    clock: Clock,
    ledger: Ledger,
    reader: CloudReader,
    writer: CloudWriter,
    changes: ChangeQueue,
) -> Gate:
    tokens = PlanTokens(
        key=settings.find_signing_key().load,
        principal=current_principal,
        cloud=settings.cloud,
        now=clock.now,
    )
    hourly_limits = {
        "delete_snapshot": policy.limits.deletes_per_hour,
        "restore_snapshot": policy.limits.restores_per_hour,
    }
    return Gate(
        writer=writer,
        reader=reader,
        ledger=ledger,
        tokens=tokens,
        consent=settings.consent,
        limits={
            tool: RateLimit(limit, SECONDS_PER_HOUR)
            for tool, limit in hourly_limits.items()
            if limit is not None
        },
        principal=current_principal,
        clock=clock,
        new_id=partial(secrets.token_urlsafe, 12),
        changes=changes,
    )
