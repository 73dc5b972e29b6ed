"""A server whose cloud turns hostile: the calls, and the checks of their results."""

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
from tests.conftest import ManualClock, call_tool, result_text
from tests.hostile.raw_cloud import KEY, Misbehavior, RawCloud, ReceivedRequest

TIMEOUT_SECONDS = 2.0
REMOTE_TEXT = "R3MOTE-WORDS"
"""Text in every hostile reply that can hold text; it must never be relayed."""

WRITES = ("create_snapshot", "delete_snapshot", "restore_snapshot")
SUCCESSES = ("created", "restored", "deleted")
_READS = ("inspect_snapshot", "list_snapshots")
_INSPECTED = "training-box-golden"
_DELETED, _NEVER_DELETED = "train-a100-1-before-driver-570", "notebook-shared-end-of-course"
_RESTORED = "grafana-before-major-upgrade"
_FIRST_NEW_ID = 1_000_000
_CREATED, _NEVER_CREATED = "made", "never-made"
_VM, _SPARE_VM = "inference-a6000", "notebook-shared"
_MAX_SENTENCES_LENGTH = 700
FOREIGN_TEXT = re.compile(
    r"Error executing tool|Internal error|Traceback|\w(Error|Exception)\b|httpx|httpcore|h11"
    r"|bytearray|illegal|malformed|disconnected|peer closed|conflicting"
    rf"|Errno|0x[0-9a-f]{{6}}|</?[a-z]|127\.0\.0\.1|{REMOTE_TEXT}|{KEY}"
)


class ToolCall(NamedTuple):
    """One call of a tool; an `executed` write is done before the cloud misbehaves."""

    tool: str
    arguments: dict[str, Any]
    executed: bool = False

    @property
    def is_write(self) -> bool:
        return self.tool not in _READS

    def matches(self, request: ReceivedRequest) -> bool:
        """Return whether this is the main request of the call, not one that prepares it."""
        if self.is_write:
            return request.method != "GET"
        snapshot_id = str(self.arguments.get("snapshot_id", "?"))
        return request.method == "GET" and snapshot_id in request.target


class Harness:
    """A client, a server and a raw cloud.

    Attributes:
        reads: a read of one snapshot, and a list.
        honest_results: their results while the cloud is honest.
    """

    def __init__(self, cloud: RawCloud, client: Client, clock: ManualClock, file: Path) -> None:
        self.cloud = cloud
        self.client = client
        self.clock = clock
        self.reads: list[ToolCall] = []
        self.honest_results: list[dict[str, Any]] = []
        self._file = file
        self._backup = sqlite3.connect(":memory:")
        self._ids: dict[str, int] = {}
        self._number = 0

    async def start(self) -> None:
        """Read the honest results, and back up the database of the cloud."""
        listed = await call_tool(self.client, "list_snapshots", limit=100)
        vms = await call_tool(self.client, "list_virtual_machines", limit=100)
        objects = [*listed["snapshots"], *vms["virtual_machines"]]
        self._ids = {cloud_object["name"]: cloud_object["id"] for cloud_object in objects}
        self.reads = [
            ToolCall("inspect_snapshot", {"snapshot_id": self._ids[_INSPECTED]}),
            ToolCall("list_snapshots", {"search": "box-weekly"}),
        ]
        self.honest_results = [
            await call_tool(self.client, read.tool, **read.arguments) for read in self.reads
        ]
        self.cloud.never_executed = (
            _NEVER_CREATED.encode(),
            f"/core/snapshots/{self._ids[_NEVER_DELETED]} ".encode(),
        )
        with closing(sqlite3.connect(self._file)) as connection:
            connection.backup(self._backup)

    def close(self) -> None:
        self._backup.close()

    async def plan_write(self, tool: str, *, executed: bool) -> ToolCall:
        """Return a write, with its plan if it needs one, on the restored database."""
        self._skip_backoff()
        with closing(sqlite3.connect(self._file)) as connection:
            self._backup.backup(connection)
            self._renumber(connection, _DELETED)
        name = self._new_name(_CREATED if executed else _NEVER_CREATED)
        match tool:
            case "create_snapshot":
                arguments = {"vm_id": self._ids[_VM], "name": name, "allow_interruption": True}
            case "restore_snapshot":
                target = {"snapshot_id": self._ids[_RESTORED], "new_vm_name": name}
                arguments = target | await self._plan(tool, target)
            case _:
                target = {"snapshot_id": self._ids[_DELETED if executed else _NEVER_DELETED]}
                return ToolCall(tool, target | await self._plan(tool, target), executed)
        return ToolCall(tool, arguments | {"wait_seconds": 0}, executed)

    def _renumber(self, connection: sqlite3.Connection, name: str) -> None:
        # The server shows a snapshot that it deleted as DELETING, even if the cloud has it again.
        self._ids[name] = _FIRST_NEW_ID + 1_000 * self._number
        connection.execute("UPDATE snapshots SET id = ? WHERE name = ?", (self._ids[name], name))
        connection.commit()

    def _skip_backoff(self) -> None:
        # After repeated failures, the server sends nothing to the cloud for up to a minute.
        self.clock.advance(seconds=70)

    def _new_name(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}-{self._number}"

    async def _plan(self, tool: str, arguments: dict[str, Any]) -> dict[str, object]:
        plan = await call_tool(self.client, tool, **arguments)
        return {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}

    async def call_during(self, call: ToolCall, misbehavior: Misbehavior) -> CallToolResult:
        """Call a tool while the cloud misbehaves on the main request, and only on that."""
        self._skip_backoff()
        self.cloud.misbehavior, self.cloud.applies_to = misbehavior, call.matches
        before = len(self.cloud.requests)
        try:
            result = await self.client.call_tool(call.tool, call.arguments)
        finally:
            self.cloud.misbehavior = None
        writes = [request for request in self.cloud.requests[before:] if request.method != "GET"]
        assert len(writes) == call.is_write, (
            f"{call} was sent {len(writes)} times: {result_text(result)}"
        )
        return result

    async def assert_next_calls_work(self) -> None:
        """Check that a read and a write work again, and let the server settle earlier writes."""
        self._skip_backoff()
        call, honest = self.reads[0], self.honest_results[0]
        assert facts_of(await self.client.call_tool(call.tool, call.arguments)) == stable_facts(
            honest
        )
        creation = {"vm_id": self._ids[_SPARE_VM], "name": self._new_name("after-all")}
        result = await self.client.call_tool("create_snapshot", creation | {"wait_seconds": 0})
        assert facts_of(result)["outcome"] == "pending"
        self.clock.advance(minutes=30)
        # The first call after that time looks once more for the effects of the earlier writes.
        await self.client.call_tool(call.tool, call.arguments)


@asynccontextmanager
async def open_harness(folder: Path) -> AsyncGenerator[Harness]:
    """Yield a server with its client and its cloud, which is still honest."""
    clock = ManualClock()
    file = folder / CLOUD_FILE
    async with RawCloud(file, clock.now).serving() as cloud:
        settings = Settings(
            api_key=SecretStr(KEY), api_url=cloud.url, data_dir=folder, timeout=TIMEOUT_SECONDS
        )
        async with Client(create_server(settings, clock=clock.clock)) as client:
            harness = Harness(cloud, client, clock, file)
            try:
                await harness.start()
                yield harness
            finally:
                harness.close()


def stable_facts(content: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a read without the fields that change with time."""
    return {key: value for key, value in content.items() if key != "age_days"}


def facts_of(result: CallToolResult) -> dict[str, Any]:
    """Return the stable facts of a read that must have succeeded."""
    assert not result.is_error, result_text(result)
    return stable_facts(cast("dict[str, Any]", result.structured_content))


def assert_own_sentence(text: str) -> None:
    """Check that the text is the server's own, not from the cloud or a library."""
    found = FOREIGN_TEXT.search(text)
    assert found is None, text
    assert text[:1].isupper(), text
    assert text.endswith("."), text
    assert len(text) < _MAX_SENTENCES_LENGTH


def assert_error(result: CallToolResult) -> None:
    """Check that the result is an error in the server's own words."""
    assert result.is_error, result_text(result)
    assert cast("dict[str, Any]", result.structured_content or {}).keys() <= {"retry_after"}
    assert_own_sentence(result_text(result))


def assert_truthful(call: ToolCall, result: CallToolResult) -> None:
    """Check that the result of a write is true: no false success, no false denial."""
    if result.is_error:
        assert_error(result)
        assert not (call.executed and "Nothing was changed" in result_text(result)), result_text(
            result
        )
        return
    content = cast("dict[str, Any]", result.structured_content)
    assert_own_sentence(content["next_step"])
    allowed = (*SUCCESSES, "pending") if call.executed else ("failed",)
    assert content["outcome"] in ("unknown", *allowed), content
