"""A server before a cloud that turns hostile: what it is asked, and what it may answer."""

import re
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple, cast

from mcp import Client
from mcp_types import CallToolResult
from pydantic import SecretStr

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.settings.environment import CLOUD_FILE, Settings
from tests.conftest import ManualClock, ask, said
from tests.hostile.raw_cloud import KEY, ReceivedRequest, RawCloud, Misbehavior

TIMEOUT_SECONDS = 2.0
REMOTE_TEXT = "R3MOTE-WORDS"
"""Stands in every hostile answer that can hold text; it must reach nobody."""

WRITES = ("create_snapshot", "delete_snapshot", "restore_snapshot")
SUCCESSES = ("created", "restored", "deleted")
_READS = ("inspect_snapshot", "list_snapshots")
_INSPECTED = "training-box-golden"
_DELETED, _NEVER_DELETED = "train-a100-1-before-driver-570", "notebook-shared-end-of-course"
_RESTORED = "grafana-before-major-upgrade"
_CREATED, _NEVER_CREATED = "made", "never-made"
_VM, _SPARE_VM = "inference-a6000", "notebook-shared"
_MAX_SENTENCES_LENGTH = 700
FOREIGN_TEXT = re.compile(
    r"Error executing tool|Internal error|Traceback|\w(Error|Exception)\b|httpx|httpcore|h11"
    r"|bytearray|illegal|malformed|disconnected|peer closed|conflicting"
    rf"|Errno|0x[0-9a-f]{{6}}|</?[a-z]|127\.0\.0\.1|{REMOTE_TEXT}|{KEY}"
)


class ToolCall(NamedTuple):
    """One call of a tool; a write that `happens` is done before its answer is spoilt."""

    tool: str
    arguments: dict[str, Any]
    happens: bool = False

    @property
    def writes(self) -> bool:
        return self.tool not in _READS

    def is_about(self, asked: ReceivedRequest) -> bool:
        """Whether this is the request that the call is for, and not one on the way to it."""
        if self.writes:
            return asked.method != "GET"
        return asked.method == "GET" and str(self.arguments.get("snapshot_id", "?")) in asked.target


class Harness:
    """A client, a server and a raw cloud.

    Attributes:
        reads: one snapshot, and a list.
        honest: what they answer when the cloud is honest.
    """

    def __init__(self, cloud: RawCloud, client: Client, turned: ManualClock, file: Path) -> None:
        self.cloud = cloud
        self.client = client
        self.turned = turned
        self.reads: list[ToolCall] = []
        self.honest: list[dict[str, Any]] = []
        self._file = file
        self._seeded = sqlite3.connect(":memory:")
        self._ids: dict[str, int] = {}
        self._number = 0

    async def begin(self) -> None:
        """Look around while the cloud is honest, and keep it as it is."""
        listed = await ask(self.client, "list_snapshots", limit=100)
        machines = await ask(self.client, "list_virtual_machines", limit=100)
        things = [*listed["snapshots"], *machines["virtual_machines"]]
        self._ids = {it["name"]: it["id"] for it in things}
        self.reads = [
            ToolCall("inspect_snapshot", {"snapshot_id": self._ids[_INSPECTED]}),
            ToolCall("list_snapshots", {"search": "box-weekly"}),
        ]
        self.honest = [await ask(self.client, it.tool, **it.arguments) for it in self.reads]
        self.cloud.never_executed = (
            _NEVER_CREATED.encode(),
            f"/core/snapshots/{self._ids[_NEVER_DELETED]} ".encode(),
        )
        with closing(sqlite3.connect(self._file)) as connection:
            connection.backup(self._seeded)

    def end(self) -> None:
        self._seeded.close()

    async def write(self, tool: str, *, happen: bool) -> ToolCall:
        """A write, planned if need be, in a cloud that is as it was at first."""
        self._rest()
        with closing(sqlite3.connect(self._file)) as connection:
            self._seeded.backup(connection)
        name = self._name(_CREATED if happen else _NEVER_CREATED)
        match tool:
            case "create_snapshot":
                arguments = {"vm_id": self._ids[_VM], "name": name, "allow_interruption": True}
            case "restore_snapshot":
                target = {"snapshot_id": self._ids[_RESTORED], "new_vm_name": name}
                arguments = target | await self._plan(tool, target)
            case _:
                target = {"snapshot_id": self._ids[_DELETED if happen else _NEVER_DELETED]}
                return ToolCall(tool, target | await self._plan(tool, target), happen)
        return ToolCall(tool, arguments | {"wait_seconds": 0}, happen)

    def _rest(self) -> None:
        # Where the cloud failed again and again, it is left alone for up to a minute.
        self.turned.turn(seconds=70)

    def _name(self, beginning: str) -> str:
        self._number += 1
        return f"{beginning}-{self._number}"

    async def _plan(self, tool: str, arguments: dict[str, Any]) -> dict[str, object]:
        plan = await ask(self.client, tool, **arguments)
        return {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}

    async def tricked(self, wish: ToolCall, trick: Misbehavior) -> CallToolResult:
        """Call a tool whose request is answered by `trick`; the cloud is honest about the rest."""
        self._rest()
        self.cloud.misbehavior, self.cloud.applies_to = trick, wish.is_about
        before = len(self.cloud.requests)
        try:
            result = await self.client.call_tool(wish.tool, wish.arguments)
        finally:
            self.cloud.misbehavior = None
        sent = [it for it in self.cloud.requests[before:] if it.method != "GET"]
        assert len(sent) == wish.writes, f"{wish} was sent {len(sent)} times: {said(result)}"
        return result

    async def next_calls_work(self) -> None:
        """Read and write as if nothing had been."""
        self._rest()
        wish, honest = self.reads[0], self.honest[0]
        assert facts_of(await self.client.call_tool(wish.tool, wish.arguments)) == stable_facts(honest)
        creation = {"vm_id": self._ids[_SPARE_VM], "name": self._name("after-all")}
        result = await self.client.call_tool("create_snapshot", creation | {"wait_seconds": 0})
        assert facts_of(result)["outcome"] == "pending"
        self.turned.turn(minutes=30)


@asynccontextmanager
async def open_harness(folder: Path) -> AsyncGenerator[Harness]:
    """A server, its client and its cloud, which is honest so far."""
    turned = ManualClock()
    file = folder / CLOUD_FILE
    async with RawCloud(file, turned.now).serving() as cloud:
        settings = Settings(
            api_key=SecretStr(KEY), api_url=cloud.url, data_dir=folder, timeout=TIMEOUT_SECONDS
        )
        async with Client(create_server(settings, clock=turned.clock)) as client:
            played = Harness(cloud, client, turned, file)
            try:
                await played.begin()
                yield played
            finally:
                played.end()


def stable_facts(content: dict[str, Any]) -> dict[str, Any]:
    """What a read told, without what changes as time goes by."""
    return {key: value for key, value in content.items() if key != "age_days"}


def facts_of(result: CallToolResult) -> dict[str, Any]:
    """The facts of a read that must have succeeded."""
    assert not result.is_error, said(result)
    return stable_facts(cast("dict[str, Any]", result.structured_content))


def assert_own_sentence(text: str) -> None:
    """It is a sentence of ours, and nothing in it came from the cloud or from a library."""
    found = FOREIGN_TEXT.search(text)
    assert found is None, text
    assert text[:1].isupper(), text
    assert text.endswith("."), text
    assert len(text) < _MAX_SENTENCES_LENGTH


def assert_error(result: CallToolResult) -> None:
    """It is an error, told in our words."""
    assert result.is_error, said(result)
    assert cast("dict[str, Any]", result.structured_content or {}).keys() <= {"retry_after"}
    assert_own_sentence(said(result))


def assert_truthful(wish: ToolCall, result: CallToolResult) -> None:
    """What was answered to a write is so: no success that nobody saw, no denial of what was."""
    if result.is_error:
        assert_error(result)
        assert not (wish.happens and "Nothing was changed" in said(result)), said(result)
        return
    content = cast("dict[str, Any]", result.structured_content)
    assert_own_sentence(content["next_step"])
    allowed = (*SUCCESSES, "pending") if wish.happens else ("failed",)
    assert content["outcome"] in ("unknown", *allowed), content
