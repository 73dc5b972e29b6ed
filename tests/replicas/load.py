"""Clients of both eras that call whatever comes next, and remember what they were told."""

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any, NamedTuple

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.conftest import ERAS, said

LONGEST_CALL_SECONDS = 240
KEPT_OF_A_VM = 4


class Told(NamedTuple):
    """What a client was told of one change: `outcome` is "lost" where no answer came."""

    tool: str
    name: str
    snapshot_id: int
    outcome: str
    text: str
    client: int


class Load:
    """Numbered calls, handed out to whoever is free.

    Args:
        url: where any replica is reached.
        calls: how many there are.
        tokens: those of the principals; the number of a client says which is its own.
        may: whether the principal of a number may call a tool.
    """

    def __init__(
        self, url: str, calls: int, tokens: Sequence[str], may: Callable[[int, str], bool]
    ) -> None:
        self._url = url
        self._tokens = tokens
        self._may = may
        self.forbidden = 0
        self._numbers = iter(range(calls))
        self._random = Random("replicas")  # noqa: S311 - the same load each time
        self.answered = 0
        self.broken: list[str] = []
        self.told: list[Told] = []
        self.snapshots: list[int] = []
        self.vms: list[int] = []

    async def work(self, client_number: int) -> None:
        """Be one client until there is nothing left to call."""
        for number in self._numbers:
            try:
                with anyio.fail_after(LONGEST_CALL_SECONDS):
                    async with self._client(client_number) as client:
                        await self._call(client, number, client_number)
                        for following in _some(self._numbers, 24):
                            await self._call(client, following, client_number)
            except Exception as error:  # noqa: BLE001 - what broke: the client comes back
                self.broken.append(repr(error))

    @asynccontextmanager
    async def _client(self, number: int) -> AsyncGenerator[Client]:
        headers = {"authorization": f"Bearer {self._tokens[number]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=300, trust_env=False) as http:
            transport = streamable_http_client(f"{self._url}/mcp", http_client=http)
            async with Client(transport, mode=ERAS[number % 2]) as client:
                yield client

    async def _call(self, client: Client, number: int, who: int) -> None:
        match number % 10:
            case 0 | 1:
                await client.list_tools()
            case 2 | 3:
                await client.read_resource("snapshot://policy")
            case 4:
                await self._ask(client, "list_virtual_machines", limit=5)
            case 5 if number % 50 == 45:
                with self._unless_forbidden(who, "apply_retention"):
                    await self._tidy_up(client, who)
            case 5:
                await self._ask(client, "inspect_snapshot", snapshot_id=self._a_snapshot())
            case 6:
                arguments = {"snapshot_id": self._a_snapshot(), "plan_token": "x", "confirm": "y"}
                with self._unless_forbidden(who, "delete_snapshot"):
                    await self._ask(client, "delete_snapshot", **arguments)
            case 7 | 8:
                with self._unless_forbidden(who, "create_snapshot"):
                    await self._create(client, who, f"load-{number // 20}")
            case _:
                with self._unless_forbidden(who, "delete_snapshot"):
                    await self._delete(client, who)
        self.answered += 1

    @contextmanager
    def _unless_forbidden(self, who: int, tool: str) -> Generator[None]:
        try:
            yield
        except MCPError:
            if self._may(who, tool):
                raise
            self.forbidden += 1

    def _a_snapshot(self) -> int:
        return self._random.choice(self.snapshots)

    async def _ask(self, client: Client, tool: str, **arguments: object) -> CallToolResult:
        return await client.call_tool(tool, dict(arguments))

    async def _create(self, client: Client, who: int, name: str) -> None:
        arguments = {"vm_id": self._random.choice(self.vms), "name": name}
        await self._change(
            client, who, "create_snapshot", name, 0, allow_interruption=True, **arguments
        )

    async def _delete(self, client: Client, who: int) -> None:
        """Agree to one plan twice at once: whichever replicas are asked, it is used once."""
        target = self._a_snapshot()
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
                        client, who, "delete_snapshot", "", target, snapshot_id=target, **commit
                    )
                )
        self.answered += 2

    async def _tidy_up(self, client: Client, who: int) -> None:
        """Agree to one plan over many snapshots twice at once, where there is one to agree to."""
        if not self._may(who, "apply_retention"):
            await self._apply(client, who, {"plan_token": "x", "confirm": "y"})
            return
        # Of all VMs: of one by chance there would often be nothing to tidy up.
        answer = await self._ask(client, "plan_retention", keep_last=KEPT_OF_A_VM)
        plan: Any = answer.structured_content
        if not plan or plan.get("outcome") != "confirmation_required":
            return
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(self._apply, client, who, commit)
        self.answered += 2

    async def _apply(self, client: Client, who: int, arguments: dict[str, str]) -> None:
        tool = "apply_retention"
        told = [Told(tool, "", 0, "lost", "", who)]
        try:
            result = await client.call_tool(tool, dict(arguments))
            content: Any = result.structured_content or {}
            outcomes = ("deleted", "pending", "unknown")
            told = [
                Told(tool, "", it["id"], outcome, said(result), who)
                for outcome in outcomes
                for it in content.get(outcome, [])
            ]
        finally:
            self.told += told

    async def _change(
        self,
        client: Client,
        who: int,
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
            text = said(result)
            if outcome in ("created", "pending") and tool == "create_snapshot":
                target = content["snapshot"]["id"]
                self.snapshots.append(target)
        finally:
            self.told.append(Told(tool, name, target, outcome, text, who))


def _some(numbers: Iterator[int], most: int) -> Iterator[int]:
    for _, number in zip(range(most), numbers, strict=False):
        yield number
