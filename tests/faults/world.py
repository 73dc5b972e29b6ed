"""Servers on one data folder with a faulty network, and clients of both protocol eras."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from mcp import Client

from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.mcp_server.app import (
    McpServer,
    connection_over,
    create_server,
    embedded_transport,
)
from snapshot_mcp.sandbox.app import create_app
from snapshot_mcp.sandbox.misbehaving_cloud import MisbehavingCloud
from snapshot_mcp.sandbox.misbehaviour import parse_misbehaviour
from snapshot_mcp.settings.environment import CLOUD_FILE, EMBEDDED_API_KEY, LEDGER_FILE, Settings
from tests.faults.change_log import (
    ENDS,
    Change,
    LedgerEntry,
    RequestedWrite,
    install_triggers,
    open_attempts,
    parse_write,
    read_changes,
    read_ledger,
)
from tests.faults.clocks import SkewedClock
from tests.faults.faults import Kill, OthersAction
from tests.faults.others import OthersDid, change_cloud
from tests.faults.transport import Exchange, ExchangeLog, FaultPlan, FaultTransport, do_nothing
from tests.waiting import ANSWER_TIMEOUT_SECONDS

"""No server needs longer to complete its writes, even on a busy machine."""


@dataclass
class FaultyWorld:
    """Servers, one cloud, and a network between them with the faults of a plan.

    The cloud's database must exist and have a change log (`seed`).

    Attributes:
        on_request: awaited with every request that is about to leave.
        servers: number of servers started so far.
        owners: the ledger's id of each server, as soon as it is known.
        misbehaviour: how the cloud fails on purpose.
        policy: text of the operator's policy; empty for none.
        others: the changes by someone else.
        current_write: what others change during a read; None to change nothing.
    """

    folder: Path
    clock: SkewedClock = field(default_factory=SkewedClock)
    plan: FaultPlan = field(default_factory=FaultPlan)
    log: ExchangeLog = field(default_factory=ExchangeLog)
    on_request: Callable[[Exchange], Awaitable[None]] = do_nothing
    servers: int = 0
    owners: dict[int, str] = field(default_factory=dict[int, str])
    misbehaviour: str = ""
    policy: str = ""
    others: list[OthersDid] = field(default_factory=list[OthersDid])
    current_write: RequestedWrite | None = None

    def __post_init__(self) -> None:
        self.settings = Settings(data_dir=self.folder)
        self.log.on_request = self._link_attempts
        self.log.on_others = self._let_others
        self.clock.can_jump = self._can_jump
        self.misbehave(self.misbehaviour)
        self.set_policy(self.policy)

    def misbehave(self, options: str) -> None:
        """Let the cloud misbehave from now on, for servers that start after this."""
        self.misbehaviour = options
        self._misbehaving = MisbehavingCloud(parse_misbehaviour(options), self.clock.cloud)

    def set_policy(self, text: str) -> None:
        """Give the servers that start after this a policy."""
        self.policy = text
        path = self.folder / "policy.toml"
        path.write_text(text, encoding="utf-8")
        self.settings = self.settings.model_copy(update={"policy": path if text else None})

    def _can_jump(self) -> bool:
        """Return whether the time of day may be moved.

        From the time of day, the server concludes when the cloud can no longer be at work on a
        request, so it must be right while the effect of one is not visible yet.
        """
        return not (self.log.delayed or self.killed_attempts or "stale" in self.misbehaviour)

    def let_others(self, action: OthersAction, write: RequestedWrite) -> None:
        """Let someone else change what a write is about."""
        database = self.folder / CLOUD_FILE
        for change_id in change_cloud(database, action, write):
            did = OthersDid(next(self.log.ticks), self.clock.monotonic(), change_id)
            self.others.append(did)

    def _let_others(self, action: OthersAction, exchange: Exchange) -> None:
        write = self.current_write
        if exchange.writing:
            write = parse_write(exchange.method, exchange.path, exchange.name)
        if write is not None:
            self.let_others(action, write)

    def _cloud_transport(self) -> httpx.AsyncBaseTransport:
        app = create_app(
            database=self.folder / CLOUD_FILE,
            api_key=EMBEDDED_API_KEY,
            now=self.clock.cloud_now,
            misbehaving=self._misbehaving if self.misbehaviour else None,
        )
        return httpx.ASGITransport(app, raise_app_exceptions=False)

    @asynccontextmanager
    async def server(self) -> AsyncGenerator[McpServer]:
        """Start a server; its clients share the state of one process, as they do over HTTP."""
        number, self.servers = self.servers, self.servers + 1

        def connect(settings: Settings, _: Clock) -> Connection:
            cloud = self._cloud_transport()
            transport = FaultTransport(cloud, self.plan, self.log, self.clock.fault_time, number)
            return connection_over(transport, settings)

        server = create_server(self.settings, clock=self.clock.clock, connect=connect)
        async with server.lifespan(server) as state:

            @asynccontextmanager
            async def shared(_: object) -> AsyncGenerator[Any]:
                yield state

            server.lifespan = shared
            yield server

    @asynccontextmanager
    async def client(self, mode: str) -> AsyncGenerator[Client]:
        """Start a server and a client of it."""
        async with self.server() as server, Client(server, mode=mode) as client:
            yield client

    @property
    def changes(self) -> list[Change]:
        """The changes in the cloud, also by others."""
        return read_changes(self.folder / CLOUD_FILE)

    @property
    def entries(self) -> list[LedgerEntry]:
        """The ledger."""
        return read_ledger(self.folder / LEDGER_FILE)

    @property
    def events(self) -> list[str]:
        """The ledger's events of sent writes, in order."""
        return [entry.event for entry in self.entries if entry.event in ("sent", *ENDS)]

    async def verify_ledger(self) -> list[str]:
        """Return the problems that the ledger finds in its own rows."""
        return await open_sqlite_ledger(self.folder / LEDGER_FILE, self.clock.now).verify()

    @property
    def killed_attempts(self) -> set[str]:
        """The attempts whose server was killed; a later server records how they ended."""
        return {
            attempt
            for exchange in self.log.exchanges
            if isinstance(exchange.fault, Kill)
            for attempt in exchange.attempts
        }

    async def wait_until_settled(self) -> None:
        """Wait until every attempt that was sent has an end, even if its caller was cancelled."""
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            while True:
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
                sent = {entry.attempt for entry in self.entries if entry.event == "sent"}
                sent -= self.killed_attempts
                ended = {entry.attempt for entry in self.entries if entry.event in ENDS}
                if sent <= ended:
                    return
                await anyio.sleep(0.005)

    async def _link_attempts(self, exchange: Exchange) -> None:
        if exchange.writing:
            write = parse_write(exchange.method, exchange.path, exchange.name)
            exchange.attempts = self._own(exchange.server, open_attempts(self.entries, write))
        await self.on_request(exchange)

    def _own(self, server: int, candidates: list[LedgerEntry]) -> list[str]:
        """Return the candidates that this server recorded itself."""
        others = {owner for number, owner in self.owners.items() if number != server}
        own = [entry for entry in candidates if entry.owner not in others]
        if len(own) == 1:
            self.owners[server] = own[0].owner
        mine = self.owners.get(server)
        return [entry.attempt for entry in own if mine in (None, entry.owner)]


async def seed(folder: Path, clock: Clock | None = None) -> Path:
    """Create a cloud with a change log in this folder and return its database file."""
    settings = Settings(data_dir=folder)
    transport = embedded_transport(settings, clock or SkewedClock().cloud)
    async with (
        connection_over(transport, settings) as connection,
        connection.stream("GET", "/core/snapshots") as response,
    ):
        assert response.is_success
    install_triggers(folder / CLOUD_FILE)
    return folder / CLOUD_FILE
