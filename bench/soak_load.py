"""Load of the soak test: concurrent clients that call tools and record the results."""

import itertools
import re
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx2
import jwt
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE
from tests.faults.change_log import (
    ENDS,
    Change,
    open_attempts,
    parse_write,
    query_rows,
    read_ledger,
)
from tests.faults.consistency import ToolCall
from tests.faults.transport import Exchange, ExchangeLog

ERAS = ("legacy", "2026-07-28")
CALLS_PER_CONNECTION = 25
PAUSE_SECONDS = (4.0, 10.0)
"""Shortest and longest pause between two calls, so that the cloud's limit serves eight clients."""

MAX_SNAPSHOTS = 45
MAX_RESTORED_VMS = 14
MIN_AGE_SECONDS = 60
SETTLE_TIMEOUT_SECONDS = 90.0

_REFUSED_FOR_LOAD = re.compile(
    "of yours are|Your share|Another change is in progress|Many requests"
)
_VMS = """SELECT id FROM vms WHERE name NOT LIKE 'back-%'
    AND name NOT IN ('ci-runner', 'eval-sweep', 'train-h100-8')"""
_OLD_VMS = "SELECT id FROM vms WHERE name LIKE 'back-%' AND born < {created_before} ORDER BY id"


@dataclass
class SoakLoad:
    """The clients and the results that they received.

    Attributes:
        url: the URL of the server.
        folder: the folder of the cloud and the ledger.
        log: records every request to the cloud.
        rng: selects the calls.
        tokens: the bearer token of each client.
        results: the results of all calls.
        removed_vms: VMs that this class removed from the cloud, so that they do not accumulate.
        numbers: make names unique.
        refusals: the texts of the calls that were refused because of load.
    """

    url: str
    folder: Path
    log: ExchangeLog
    rng: Random
    tokens: Sequence[str]
    results: list[ToolCall] = field(default_factory=list[ToolCall])
    removed_vms: set[int] = field(default_factory=set[int])
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    refusals: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.log.on_request = self._note_attempts
        self.vms = [row[0] for row in query_rows(self.folder / CLOUD_FILE, _VMS)]

    @property
    def outcomes(self) -> Counter[str]:
        """The number of results by outcome."""
        return Counter(result.outcome for result in self.results)

    def exclude_removed_vms(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes without the VMs that this class removed."""
        return [
            change
            for change in changes
            if change[:2] != ("gone", "vm") or change.number not in self.removed_vms
        ]

    async def run(self, until: float) -> None:
        """Call tools until a time of the monotonic clock."""
        async with anyio.create_task_group() as tasks:
            for number in range(len(self.tokens)):
                tasks.start_soon(self._run_client, number, until)

    async def warm_up(self) -> None:
        """Read and write once in each era, so that the server opens its permanent files."""
        for number, vm in enumerate(self.vms[: len(ERAS)]):
            async with self._client(number) as client:
                await self._call(client, "list_snapshots", {})
                await self._call(client, "create_snapshot", self._create_arguments(vm))

    async def wait_until_settled(self) -> None:
        """Wait until every attempt in the ledger has an end, or until the timeout."""
        with anyio.move_on_after(SETTLE_TIMEOUT_SECONDS):
            while True:
                entries = read_ledger(self.folder / LEDGER_FILE)
                sent = {entry.attempt for entry in entries if entry.event == "sent"}
                if sent <= {entry.attempt for entry in entries if entry.event in ENDS}:
                    return
                await anyio.sleep(0.5)

    @asynccontextmanager
    async def _client(self, number: int) -> AsyncGenerator[Client]:
        headers = {"authorization": f"Bearer {self.tokens[number]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=300, trust_env=False) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode=ERAS[number % 2]) as client:
                yield client

    async def _run_client(self, number: int, until: float) -> None:
        while time.monotonic() < until:
            try:
                async with self._client(number) as client:
                    for _ in range(CALLS_PER_CONNECTION):
                        if time.monotonic() >= until:
                            break
                        await self._call_random_tool(client)
                        await anyio.sleep(self.rng.uniform(*PAUSE_SECONDS))
            except Exception as error:  # noqa: BLE001 - the report names every refusal
                self.refusals.append(repr(error)[:300])

    async def _call_random_tool(self, client: Client) -> None:
        match self.rng.randrange(10):
            case 0 | 1:
                await self._call(client, "list_snapshots", {"limit": 100})
            case 2:
                await self._call(client, "list_virtual_machines", {})
            case 3 | 4:
                await self._call(client, "inspect_snapshot", {"snapshot_id": self._random_id()})
            case 5 | 6 | 7:
                await self._create_or_delete(client)
            case _:
                self._remove_old_vms()
                name = f"back-{next(self.numbers)}"
                await self._commit(client, "restore_snapshot", new_vm_name=name, wait_seconds=5)

    async def _create_or_delete(self, client: Client) -> None:
        if len(self._snapshot_ids()) >= MAX_SNAPSHOTS or self.rng.random() < 1 / 3:
            await self._commit(client, "delete_snapshot")
            return
        await self._call(
            client, "create_snapshot", self._create_arguments(self.rng.choice(self.vms))
        )

    def _create_arguments(self, vm: int) -> dict[str, Any]:
        return {
            "vm_id": vm,
            "name": f"made-{next(self.numbers)}",
            "allow_interruption": True,
            "wait_seconds": self.rng.choice([0, 5, 15]),
        }

    async def _commit(self, client: Client, tool: str, **others: Any) -> None:  # noqa: ANN401 - JSON
        arguments = {"snapshot_id": self._random_id(), **others}
        plan = (await self._call(client, tool, arguments)).content
        if token := plan.get("plan_token"):
            commit = {"plan_token": token, "confirm": plan["confirm_with"]}
            for _ in range(2 if self.rng.random() < 1 / 4 else 1):
                result = await self._call(client, tool, arguments | commit)
                if "already used" not in result.text:
                    result.attempt = self._attempt_of(result, token)

    async def _call(self, client: Client, tool: str, arguments: dict[str, Any]) -> ToolCall:
        result = ToolCall(tool, arguments, exclusive=False)
        # Some clients do not wait for the answer.
        timeout = self.rng.uniform(0.05, 4) if self.rng.random() < 1 / 12 else 300
        with anyio.move_on_after(timeout):
            answer = await client.call_tool(tool, arguments)
            result.content = answer.structured_content or {}
            result.text = str(answer.content)
            result.outcome = "error" if answer.is_error else result.content.get("outcome", "read")
            if answer.is_error and _REFUSED_FOR_LOAD.search(result.text):
                self.refusals.append(result.text[:300])
        if tool == "create_snapshot":
            result.attempt = self._attempt_of(result, "")
        self.results.append(result)
        return result

    def _attempt_of(self, result: ToolCall, token: str) -> str:
        options: Any = {"verify_signature": False}
        token_id = jwt.decode(token, options=options)["jti"] if token else ""
        attempts = (
            entry.attempt
            for entry in read_ledger(self.folder / LEDGER_FILE)
            if entry.event == "sent"
            and entry.write == result.write
            and token_id in ("", entry.attempt)
        )
        return next(attempts, "")

    def _snapshot_ids(self) -> list[int]:
        return [row[0] for row in query_rows(self.folder / CLOUD_FILE, "SELECT id FROM snapshots")]

    def _random_id(self) -> int:
        return self.rng.choice(self._snapshot_ids())

    def _remove_old_vms(self) -> None:
        """Remove VMs of earlier restores, as an operator of the cloud could."""
        created_before = int((time.time() - MIN_AGE_SECONDS) * 1_000_000)
        old = query_rows(self.folder / CLOUD_FILE, _OLD_VMS.format(created_before=created_before))
        removed = [row[0] for row in old[:-MAX_RESTORED_VMS]]
        self.removed_vms.update(removed)
        with closing(sqlite3.connect(self.folder / CLOUD_FILE, timeout=10)) as connection:
            connection.executemany(
                "DELETE FROM vms WHERE id = ?", [(number,) for number in removed]
            )
            connection.commit()

    async def _note_attempts(self, exchange: Exchange) -> None:
        if exchange.writing:
            write = parse_write(exchange.method, exchange.path, exchange.name)
            entries = read_ledger(self.folder / LEDGER_FILE)
            exchange.attempts = [entry.attempt for entry in open_attempts(entries, write)]
