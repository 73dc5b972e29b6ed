"""The steps of the state machine: a call under faults, and the consistency check after it."""

import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import anyio
import jwt
from anyio.from_thread import BlockingPortal
from hypothesis.stateful import RuleBasedStateMachine
from mcp import Client

from snapshot_mcp.sandbox.misbehaviour import parse_misbehaviour
from snapshot_mcp.settings.environment import CLOUD_FILE
from tests.conftest import result_text
from tests.faults.change_log import (
    NAME_ARGUMENTS,
    LedgerEntry,
    query_rows,
    read_existing_snapshots,
)
from tests.faults.consistency import ToolCall, find_inconsistencies
from tests.faults.faults import Kill, SentTwice, ServerKilledError
from tests.faults.helpers import let_cancellation_arrive
from tests.faults.promises import Evidence, Promises, find_broken_promises
from tests.faults.strategies import NO_FAULT, CallFaults
from tests.faults.transport import Exchange, FaultPlan
from tests.faults.world import FaultyWorld

SECONDS_BETWEEN_STEPS = 7
NEVER, AT_THE_WRITE = 0, -1

_WRITING_TOOLS = (*NAME_ARGUMENTS, "delete_snapshot")
_VMS = """SELECT id FROM vms
    WHERE name NOT IN ('ci-runner', 'eval-sweep', 'train-h100-8') ORDER BY id"""
"""VMs that can be snapshotted."""


class PlannedCommit(NamedTuple):
    """The tool and the arguments that commit a plan."""

    tool: str
    arguments: dict[str, Any]


class FaultMachine(RuleBasedStateMachine):
    """One example: one cloud, two clients of one server, and one client of a second server."""

    portal: ClassVar[BlockingPortal]
    template: ClassVar[Path]
    counts: ClassVar[Counter[str]]
    clients: list[Client]
    servers: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        shutil.copy(self.template, folder / CLOUD_FILE)
        self.world = FaultyWorld(folder)
        self.calls: list[ToolCall] = []
        self.commits: list[PlannedCommit] = []
        self.numbers = itertools.count(1)
        self.promises = Promises()
        self.existing = read_existing_snapshots(self.cloud)
        self.vms = [row[0] for row in query_rows(self.cloud, _VMS)]
        self.second = ExitStack()

    @property
    def cloud(self) -> Path:
        return self.world.folder / CLOUD_FILE

    @property
    def ids(self) -> list[int]:
        return [row[0] for row in query_rows(self.cloud, "SELECT id FROM snapshots ORDER BY id")]

    def enter(self, stack: ExitStack, context: Any) -> Any:  # noqa: ANN401 - any value
        return stack.enter_context(self.portal.wrap_async_context_manager(context))

    def call_tool(
        self,
        client_index: int,
        tool: str,
        arguments: dict[str, Any],
        faults: CallFaults,
        cancel_at: int = NEVER,
        pause_seconds: float = SECONDS_BETWEEN_STEPS,
    ) -> ToolCall:
        self.use_faults(faults)
        tool_call = ToolCall(tool, arguments)
        self.world.current_write = tool_call.write if tool in _WRITING_TOOLS else None
        call = self.portal.call(self.run_call, client_index, tool_call, cancel_at)
        self.world.current_write = None
        self.end_step(pause_seconds)
        return call

    def use_faults(self, faults: CallFaults) -> None:
        """Inject these faults into the next requests.

        With stale reads, no write is repeated by a proxy: the server cannot see that a refusal
        answers only the second one.
        """
        plan = faults.plan
        if self.stale_seconds:
            plan.writes = [
                NO_FAULT if isinstance(fault, SentTwice) else fault for fault in plan.writes
            ]
        self.world.plan.replace_with(plan)

    def call_concurrently(
        self, commits: list[tuple[int, PlannedCommit]], faults: CallFaults
    ) -> None:
        self.use_faults(faults)
        tool_calls = [
            (client_index, ToolCall(commit.tool, commit.arguments, exclusive=False))
            for client_index, commit in commits
        ]
        writes = [call.write for _, call in tool_calls]
        if writes[0] == writes[1] and writes[0].tool == "create_snapshot":
            tool_calls.pop()
        self.portal.call(self.run_concurrently, tool_calls)
        self.end_step()

    def kill_during(self, mode: str, commit: PlannedCommit, seconds_late: float) -> None:
        """Start a second server, kill it during this call, and start another one."""
        call = ToolCall(commit.tool, commit.arguments)
        self.second.close()
        self.portal.call(self.run_killed_call, mode, call, Kill(seconds_late))
        self.calls.append(call)
        self.servers[2] = self.world.servers
        self.clients[2] = self.enter(self.second, self.world.client(mode))
        self.end_step()

    async def run_killed_call(self, mode: str, call: ToolCall, kill: Kill) -> None:
        self.counts["steps"] += 1
        self.world.plan.replace_with(FaultPlan(writes=[kill]))
        call.first_exchange = len(self.world.log.exchanges)
        before, server = len(self.world.entries), self.world.servers
        try:
            async with self.world.client(mode) as client:
                await self.await_result(client.call_tool(call.tool, call.arguments), call)
        except BaseExceptionGroup as group:
            if group.split(ServerKilledError)[1] is not None:
                raise
            self.counts["killed"] += 1
        call.end_exchange = len(self.world.log.exchanges)
        call.attempt = self.attempt_of(server, call, self.world.entries[before:])

    def end_step(self, pause_seconds: float = SECONDS_BETWEEN_STEPS) -> None:
        self.world.plan.replace_with(CallFaults().plan)
        self.portal.call(self.world.wait_until_settled)
        self.pass_time(pause_seconds)
        self.check()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; delayed requests reach the cloud when they are due."""
        clock = self.world.clock
        end = clock.monotonic() + seconds
        for due in sorted(due for due, _ in self.world.log.delayed if due < end):
            clock.advance(seconds=max(due - clock.monotonic(), 0))
            self.portal.call(self.world.log.deliver_delayed, clock.monotonic())
        clock.advance(seconds=end - clock.monotonic())

    async def run_concurrently(self, calls: list[tuple[int, ToolCall]]) -> None:
        async with anyio.create_task_group() as tasks:
            for client_index, call in calls:
                tasks.start_soon(self.run_call, client_index, call, NEVER)

    async def run_call(self, client_index: int, call: ToolCall, cancel_at: int) -> ToolCall:
        self.counts["steps"] += 1
        log, client = self.world.log, self.clients[client_index]
        call.first_exchange = len(log.exchanges)
        before = len(self.world.entries)
        with anyio.CancelScope() as scope:
            self.world.on_request = self.canceller(scope, cancel_at)
            await self.await_result(client.call_tool(call.tool, call.arguments), call)
        call.end_exchange = len(log.exchanges)
        server = self.servers[client_index]
        call.attempt = self.attempt_of(server, call, self.world.entries[before:])
        self.calls.append(call)
        return call

    def attempt_of(self, server: int, call: ToolCall, entries: list[LedgerEntry]) -> str:
        """Return the attempt of this call, if any; another server may have used the same plan."""
        token = call.arguments.get("plan_token", "")
        own = (
            entry.attempt
            for entry in entries
            if entry.event == "sent"
            and entry.write == call.write
            and entry.owner == self.world.owners.get(server)
            and (not token or entry.attempt == plan_id_of(token))
        )
        return next(own, "")

    async def await_result(self, pending: Awaitable[Any], call: ToolCall) -> None:
        result = await pending
        call.text = result_text(result)
        call.content = result.structured_content or {}
        call.outcome = "error" if result.is_error else call.content.get("outcome", "read")

    def canceller(self, scope: anyio.CancelScope, cancel_at: int) -> Any:  # noqa: ANN401 - an async hook
        numbers = itertools.count(1)

        async def cancel(exchange: Exchange) -> None:
            reached = exchange.writing if cancel_at == AT_THE_WRITE else next(numbers) == cancel_at
            if reached:
                scope.deadline = anyio.current_time()
                if cancel_at != AT_THE_WRITE:
                    await let_cancellation_arrive()

        return cancel

    @property
    def stale_seconds(self) -> float:
        options = parse_misbehaviour(self.world.misbehaviour)
        return max(options.stale_reads, options.stale_lists)

    def check(self) -> None:
        world = self.world
        exchanges, changes = world.log.exchanges, world.changes
        stale = self.stale_seconds > 0
        sentences = find_inconsistencies(world.entries, exchanges, changes, self.calls, stale=stale)
        options = parse_misbehaviour(world.misbehaviour)
        evidence = Evidence(
            self.existing,
            changes,
            exchanges,
            world.others,
            world.clock.start,
            options.stale_reads,
        )
        broken = find_broken_promises(self.promises, evidence)
        report = "\n".join([*sentences, *broken])
        assert not report, f"{world.misbehaviour} {self.promises}\n{report}"


def plan_id_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])
