"""Load: clients of both eras that share a list of calls and record the reported results."""

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any, NamedTuple

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.conftest import ERAS, result_text

CALL_TIMEOUT_SECONDS = 240
KEEP_LAST = 4


class ReportedChange(NamedTuple):
    """The reported result of one change; `outcome` is "lost" if there was no answer."""

    tool: str
    name: str
    snapshot_id: int
    outcome: str
    text: str
    client: int


class Load:
    """Numbered calls, distributed to free clients.

    Args:
        url: address of the proxy in front of the replicas.
        calls: number of calls.
        tokens: tokens of the principals, by client number.
        is_allowed: whether the principal of a client number may call a tool.
    """

    def __init__(
        self, url: str, calls: int, tokens: Sequence[str], is_allowed: Callable[[int, str], bool]
    ) -> None:
        self._url = url
        self._tokens = tokens
        self._is_allowed = is_allowed
        self.forbidden = 0
        self._numbers = iter(range(calls))
        self._random = Random("replicas")  # noqa: S311 - the same load each time
        self.answered = 0
        self.broken: list[str] = []
        self.reported: list[ReportedChange] = []
        self.snapshots: list[int] = []
        self.vms: list[int] = []

    async def work(self, client_number: int) -> None:
        """Act as one client until no calls are left."""
        for number in self._numbers:
            try:
                with anyio.fail_after(CALL_TIMEOUT_SECONDS):
                    async with self._client(client_number) as client:
                        await self._call(client, number, client_number)
                        for following in _take(self._numbers, 24):
                            await self._call(client, following, client_number)
            except Exception as error:  # noqa: BLE001 - the client reconnects after any error
                self.broken.append(repr(error))

    @asynccontextmanager
    async def _client(self, number: int) -> AsyncGenerator[Client]:
        headers = {"authorization": f"Bearer {self._tokens[number]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=300, trust_env=False) as http:
            transport = streamable_http_client(f"{self._url}/mcp", http_client=http)
            async with Client(transport, mode=ERAS[number % 2]) as client:
                yield client

    async def _call(self, client: Client, number: int, client_number: int) -> None:
        match number % 10:
            case 0 | 1:
                await client.list_tools()
            case 2 | 3:
                await client.read_resource("snapshot://policy")
            case 4:
                await self._ask(client, "list_virtual_machines", limit=5)
            case 5 if number % 50 == 45:
                with self._allow_forbidden(client_number, "apply_retention"):
                    await self._apply_retention(client, client_number)
            case 5:
                await self._ask(client, "inspect_snapshot", snapshot_id=self._random_snapshot())
            case 6:
                arguments = {
                    "snapshot_id": self._random_snapshot(),
                    "plan_token": "x",
                    "confirm": "y",
                }
                with self._allow_forbidden(client_number, "delete_snapshot"):
                    await self._ask(client, "delete_snapshot", **arguments)
            case 7 | 8:
                with self._allow_forbidden(client_number, "create_snapshot"):
                    await self._create(client, client_number, f"load-{number // 20}")
            case _:
                with self._allow_forbidden(client_number, "delete_snapshot"):
                    await self._delete(client, client_number)
        self.answered += 1

    @contextmanager
    def _allow_forbidden(self, client_number: int, tool: str) -> Generator[None]:
        try:
            yield
        except MCPError:
            if self._is_allowed(client_number, tool):
                raise
            self.forbidden += 1

    def _random_snapshot(self) -> int:
        return self._random.choice(self.snapshots)

    async def _ask(self, client: Client, tool: str, **arguments: object) -> CallToolResult:
        return await client.call_tool(tool, dict(arguments))

    async def _create(self, client: Client, client_number: int, name: str) -> None:
        arguments = {"vm_id": self._random.choice(self.vms), "name": name}
        await self._change(
            client, client_number, "create_snapshot", name, 0, allow_interruption=True, **arguments
        )

    async def _delete(self, client: Client, client_number: int) -> None:
        """Commit one plan twice concurrently; only one commit may succeed on any replica."""
        target = self._random_snapshot()
        plan: Any = (
            await self._ask(client, "delete_snapshot", snapshot_id=target)
        ).structured_content
        if not plan or plan.get("outcome") != "confirmation_required":
            return
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(
                    lambda: self._change(
                        client,
                        client_number,
                        "delete_snapshot",
                        "",
                        target,
                        snapshot_id=target,
                        **commit,
                    )
                )
        self.answered += 2

    async def _apply_retention(self, client: Client, client_number: int) -> None:
        """Commit one retention plan twice concurrently, if there is something to delete."""
        if not self._is_allowed(client_number, "apply_retention"):
            await self._apply(client, client_number, {"plan_token": "x", "confirm": "y"})
            return
        # For all VMs: a random VM would often have nothing to delete.
        answer = await self._ask(client, "plan_retention", keep_last=KEEP_LAST)
        plan: Any = answer.structured_content
        if not plan or plan.get("outcome") != "confirmation_required":
            return
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(self._apply, client, client_number, commit)
        self.answered += 2

    async def _apply(self, client: Client, client_number: int, arguments: dict[str, str]) -> None:
        tool = "apply_retention"
        reported = [ReportedChange(tool, "", 0, "lost", "", client_number)]
        try:
            result = await client.call_tool(tool, dict(arguments))
            content: Any = result.structured_content or {}
            outcomes = ("deleted", "pending", "unknown")
            reported = [
                ReportedChange(tool, "", row["id"], outcome, result_text(result), client_number)
                for outcome in outcomes
                for row in content.get(outcome, [])
            ]
        finally:
            self.reported += reported

    async def _change(
        self,
        client: Client,
        client_number: int,
        tool: str,
        name: str,
        target: int,
        /,
        **arguments: object,
    ) -> None:
        outcome, text = "lost", ""
        try:
            result = await client.call_tool(tool, dict(arguments))
            content: Any = result.structured_content or {}
            outcome = "refused" if result.is_error else str(content.get("outcome"))
            text = result_text(result)
            if outcome in ("created", "pending") and tool == "create_snapshot":
                target = content["snapshot"]["id"]
                self.snapshots.append(target)
        finally:
            self.reported.append(ReportedChange(tool, name, target, outcome, text, client_number))


def _take(numbers: Iterator[int], count: int) -> Iterator[int]:
    for _, number in zip(range(count), numbers, strict=False):
        yield number
