"""Clients that call all tools at once, for as long as they are let, and note what they are told."""

import itertools
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import jwt
from mcp import Client

from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from tests.faults.judge import Told
from tests.faults.transport import Exchange, Log
from tests.faults.witness import (
    ENDS,
    Change,
    entries_of,
    open_attempts,
    rows_of,
    write_of,
)

ERAS = ("legacy", "2026-07-28")
CLIENTS = 8
CALLS_OF_A_CONNECTION = 25
MOST_SNAPSHOTS = 45
MOST_VMS = 14
OLD_SECONDS = 60
SECONDS_TO_CALM = 90.0

_VMS = """SELECT id FROM vms WHERE name NOT LIKE 'back-%'
    AND name NOT IN ('ci-runner', 'eval-sweep', 'train-h100-8')"""
_OLD_VMS = "SELECT id FROM vms WHERE name LIKE 'back-%' AND born < {moment} ORDER BY id"


@dataclass
class Load:
    """What the clients do, and what they were told.

    Attributes:
        url: of the server.
        folder: where the cloud and the ledger are.
        log: notes every request to the cloud.
        chance: decides what is done.
        tidied: VMs that were removed here, as an operator would, so that they do not pile up.
    """

    url: str
    folder: Path
    log: Log
    chance: random.Random
    told: list[Told] = field(default_factory=list[Told])
    tidied: set[int] = field(default_factory=set[int])
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.log.on_leaving = self._note_attempts
        self.vms = [row[0] for row in rows_of(self.folder / CLOUD_FILE, _VMS)]

    @property
    def outcomes(self) -> Counter[str]:
        """How often each outcome was told."""
        return Counter(told.outcome for told in self.told)

    def without_tidying(self, changes: Sequence[Change]) -> list[Change]:
        """The changes that somebody else than the operator made."""
        return [it for it in changes if it[:2] != ("gone", "vm") or it.number not in self.tidied]

    async def run(self, until: float) -> None:
        """Call tools until a moment of the monotonic clock."""
        async with anyio.create_task_group() as tasks:
            for place in range(CLIENTS):
                tasks.start_soon(self._be_a_client, ERAS[place % 2], until)

    async def begin(self) -> None:
        """Read and write once in each era, so that the server holds open what it always does."""
        for mode, vm in zip(ERAS, self.vms, strict=False):
            async with Client(self.url, mode=mode) as client:
                await self._call(client, "list_snapshots", {})
                await self._call(client, "create_snapshot", self._order(vm))

    async def calm(self) -> None:
        """Wait until every attempt has its end, or for so long that this is wrong in itself."""
        with anyio.move_on_after(SECONDS_TO_CALM):
            while True:
                entries = entries_of(self.folder / LEDGER_FILE)
                sent = {entry.attempt for entry in entries if entry.event == "sent"}
                if sent <= {entry.attempt for entry in entries if entry.event in ENDS}:
                    return
                await anyio.sleep(0.5)

    async def _be_a_client(self, mode: str, until: float) -> None:
        while time.monotonic() < until:
            async with Client(self.url, mode=mode) as client:
                for _ in range(CALLS_OF_A_CONNECTION):
                    if time.monotonic() >= until:
                        break
                    await self._do_something(client)
                    await anyio.sleep(self.chance.uniform(0.1, 1.0))

    async def _do_something(self, client: Client) -> None:
        match self.chance.randrange(10):
            case 0 | 1:
                await self._call(client, "list_snapshots", {"limit": 100})
            case 2:
                await self._call(client, "list_virtual_machines", {})
            case 3 | 4:
                await self._call(client, "inspect_snapshot", {"snapshot_id": self._any_id()})
            case 5 | 6 | 7:
                await self._create_or_delete(client)
            case _:
                self._tidy()
                name = f"back-{next(self.numbers)}"
                await self._commit(client, "restore_snapshot", new_vm_name=name, wait_seconds=5)

    async def _create_or_delete(self, client: Client) -> None:
        if len(self._ids()) >= MOST_SNAPSHOTS or self.chance.random() < 1 / 3:
            await self._commit(client, "delete_snapshot")
            return
        await self._call(client, "create_snapshot", self._order(self.chance.choice(self.vms)))

    def _order(self, vm: int) -> dict[str, Any]:
        return {
            "vm_id": vm,
            "name": f"made-{next(self.numbers)}",
            "allow_interruption": True,
            "wait_seconds": self.chance.choice([0, 5, 15]),
        }

    async def _commit(self, client: Client, tool: str, **others: Any) -> None:  # noqa: ANN401 - JSON
        arguments = {"snapshot_id": self._any_id(), **others}
        plan = (await self._call(client, tool, arguments)).content
        if token := plan.get("plan_token"):
            words = {"plan_token": token, "confirm": plan["confirm_with"]}
            for _ in range(2 if self.chance.random() < 1 / 4 else 1):
                told = await self._call(client, tool, arguments | words)
                if "already used" not in told.text:
                    told.attempt = self._attempt_of(told, token)

    async def _call(self, client: Client, tool: str, arguments: dict[str, Any]) -> Told:
        told = Told(tool, arguments, alone=False)
        patience = self.chance.uniform(0.05, 4) if self.chance.random() < 1 / 12 else 300
        with anyio.move_on_after(patience):
            result = await client.call_tool(tool, arguments)
            told.content = result.structured_content or {}
            told.text = str(result.content)
            told.outcome = "error" if result.is_error else told.content.get("outcome", "read")
        if tool == "create_snapshot":
            told.attempt = self._attempt_of(told, "")
        self.told.append(told)
        return told

    def _attempt_of(self, told: Told, token: str) -> str:
        options: Any = {"verify_signature": False}
        wanted = jwt.decode(token, options=options)["jti"] if token else ""
        own = (
            entry.attempt
            for entry in entries_of(self.folder / LEDGER_FILE)
            if entry.event == "sent" and entry.write == told.write and wanted in ("", entry.attempt)
        )
        return next(own, "")

    def _ids(self) -> list[int]:
        return [row[0] for row in rows_of(self.folder / CLOUD_FILE, "SELECT id FROM snapshots")]

    def _any_id(self) -> int:
        return self.chance.choice(self._ids())

    def _tidy(self) -> None:
        """Remove what earlier restores made, as the operator of the cloud may."""
        moment = int((time.time() - OLD_SECONDS) * 1_000_000)
        old = rows_of(self.folder / CLOUD_FILE, _OLD_VMS.format(moment=moment))
        gone = [row[0] for row in old[:-MOST_VMS]]
        self.tidied.update(gone)
        with closing(sqlite3.connect(self.folder / CLOUD_FILE, timeout=10)) as connection:
            connection.executemany("DELETE FROM vms WHERE id = ?", [(number,) for number in gone])
            connection.commit()

    async def _note_attempts(self, exchange: Exchange) -> None:
        if exchange.writing:
            write = write_of(exchange.method, exchange.path, exchange.name)
            entries = entries_of(self.folder / LEDGER_FILE)
            exchange.attempts = [it.attempt for it in open_attempts(entries, write)]
