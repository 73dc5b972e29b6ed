"""What a step of the state machine does: a call under faults, and the comparison after it."""

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

from snapshot_mcp.settings.environment import CLOUD_FILE
from tests.conftest import said
from tests.faults.change_log import LedgerEntry, query_rows
from tests.faults.consistency import ToolCall, find_inconsistencies
from tests.faults.strategies import CallFaults
from tests.faults.test_cancelled_callers import let_cancellation_arrive
from tests.faults.transport import Exchange
from tests.faults.world import FaultyWorld

SECONDS_BETWEEN_STEPS = 7
NEVER, AT_THE_WRITE = 0, -1

_VMS = """SELECT id FROM vms
    WHERE name NOT IN ('ci-runner', 'eval-sweep', 'train-h100-8') ORDER BY id"""
"""The others can never be snapshotted."""


class PlannedCommit(NamedTuple):
    """A plan that was made: the tool and the arguments that commit it."""

    tool: str
    arguments: dict[str, Any]


class FaultMachine(RuleBasedStateMachine):
    """One example: one cloud, two clients on one server, a third one on a second server."""

    portal: ClassVar[BlockingPortal]
    template: ClassVar[Path]
    seen: ClassVar[Counter[str]]
    clients: list[Client]
    servers: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        shutil.copy(self.template, folder / CLOUD_FILE)
        self.world = FaultyWorld(folder)
        self.told: list[ToolCall] = []
        self.offers: list[PlannedCommit] = []
        self.numbers = itertools.count(1)
        self.vms = [row[0] for row in query_rows(self.cloud, _VMS)]
        self.second = ExitStack()

    @property
    def cloud(self) -> Path:
        return self.world.folder / CLOUD_FILE

    @property
    def ids(self) -> list[int]:
        return [row[0] for row in query_rows(self.cloud, "SELECT id FROM snapshots ORDER BY id")]

    def enter(self, stack: ExitStack, context: Any) -> Any:  # noqa: ANN401 - whatever it holds
        return stack.enter_context(self.portal.wrap_async_context_manager(context))

    def do(
        self,
        who: int,
        tool: str,
        arguments: dict[str, Any],
        weather: CallFaults,
        leaving: int = NEVER,
    ) -> ToolCall:
        self.world.plan.be(weather.plan)
        told = self.portal.call(self.call, who, ToolCall(tool, arguments), leaving)
        self.end_step()
        return told

    def do_at_once(self, calls: list[tuple[int, PlannedCommit]], weather: CallFaults) -> None:
        self.world.plan.be(weather.plan)
        tells = [(who, ToolCall(it.tool, it.arguments, alone=False)) for who, it in calls]
        names = [told.write for _, told in tells]
        if names[0] == names[1] and names[0].tool == "create_snapshot":
            tells.pop()
        self.portal.call(self.call_at_once, tells)
        self.end_step()

    def end_step(self) -> None:
        self.world.plan.be(CallFaults().plan)
        self.portal.call(self.world.wait_until_settled)
        self.world.clock.turn(seconds=SECONDS_BETWEEN_STEPS)
        self.check()

    async def call_at_once(self, calls: list[tuple[int, ToolCall]]) -> None:
        async with anyio.create_task_group() as tasks:
            for who, told in calls:
                tasks.start_soon(self.call, who, told, NEVER)

    async def call(self, who: int, told: ToolCall, leaving: int) -> ToolCall:
        self.seen["steps"] += 1
        log, client = self.world.log, self.clients[who]
        told.began = len(log.exchanges)
        before = len(self.world.entries)
        with anyio.CancelScope() as scope:
            self.world.on_request = self.leaver(scope, leaving)
            await self.answer(client.call_tool(told.tool, told.arguments), told)
        told.ended = len(log.exchanges)
        told.attempt = self.attempt_of(who, told, self.world.entries[before:])
        self.told.append(told)
        return told

    def attempt_of(self, who: int, told: ToolCall, entries: list[LedgerEntry]) -> str:
        """The attempt that this call recorded, if it did: another server may use the same plan."""
        token = told.arguments.get("plan_token", "")
        own = (
            entry.attempt
            for entry in entries
            if entry.event == "sent"
            and entry.write == told.write
            and entry.owner == self.world.owners.get(self.servers[who])
            and (not token or entry.attempt == plan_id_of(token))
        )
        return next(own, "")

    async def answer(self, call: Awaitable[Any], told: ToolCall) -> None:
        result = await call
        told.text = said(result)
        told.content = result.structured_content or {}
        told.outcome = "error" if result.is_error else told.content.get("outcome", "read")

    def leaver(self, scope: anyio.CancelScope, leaving: int) -> Any:  # noqa: ANN401 - see below
        numbers = itertools.count(1)

        async def leave(exchange: Exchange) -> None:
            here = exchange.writing if leaving == AT_THE_WRITE else next(numbers) == leaving
            if here:
                scope.deadline = anyio.current_time()
                if leaving != AT_THE_WRITE:
                    await let_cancellation_arrive()

        return leave

    def check(self) -> None:
        world = self.world
        wrong = find_inconsistencies(world.entries, world.log.exchanges, world.changes, self.told)
        sentences = "\n".join(wrong)
        assert not sentences, sentences


def plan_id_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])
