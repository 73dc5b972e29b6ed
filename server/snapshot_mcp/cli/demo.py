"""`snapshot-mcp demo`: show the main tools, called by a real MCP client over stdio."""

import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from snapshot_mcp.settings.names import looks_like_setting

_DEMO_TIMEOUT_SECONDS = 180
_MAX_VALUE_WIDTH = 60


class DemoError(Exception):
    """A call did not have the expected result."""


def run_demo(*, retention: bool = False) -> bool:
    """Run the demo on a new embedded cloud in a temporary folder.

    Args:
        retention: show a clean-up by retention rules instead of the main tools.

    Returns:
        Whether every call had the expected result.
    """
    console = Console()
    failures: list[str] = []
    try:
        anyio.run(_run, console, _RetentionDemo if retention else _SnapshotDemo)
    except* DemoError as group:
        failures += _messages(group)
    except* TimeoutError:
        failures.append(f"it took more than {_DEMO_TIMEOUT_SECONDS} s")
    for failure in failures:
        console.print(f"[bold red]The demo failed:[/] {escape(failure)}")
    return not failures


async def _run(console: Console, demo: "type[_Demo]") -> None:
    with anyio.fail_after(_DEMO_TIMEOUT_SECONDS):
        async with _connect() as client:
            await demo(console, client).run()


@asynccontextmanager
async def _connect() -> AsyncGenerator[Client]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not (looks_like_setting(name) or name.startswith("HYPERSTACK_"))
        }
        environment |= {"SNAPSHOT_MCP_DATA_DIR": folder, "SNAPSHOT_MCP_CLOUD": "embedded"}
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "snapshot_mcp"], env=environment
        )
        async with Client(server) as client:
            yield client


class _Demo(ABC):
    """Base of the demos: calls tools, prints each call with its result, and checks it."""

    def __init__(self, console: Console, client: Client) -> None:
        self._console = console
        self._client = client

    @abstractmethod
    async def run(self) -> None:
        """Call the tools in order."""

    async def _show_tools(self) -> list[str]:
        tools = [tool.name for tool in (await self._client.list_tools()).tools]
        self._say(f"An MCP client started the server over stdio. Its tools: {', '.join(tools)}.")
        return tools

    async def _call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        *,
        show_progress: bool = False,
        expect_error: str = "",
    ) -> dict[str, Any]:
        self._console.print(f"[bold cyan]{tool}[/] {_format_arguments(arguments)}")
        call_tool = self._call_with_progress if show_progress else self._client.call_tool
        result = await call_tool(tool, dict(arguments))
        text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
        colour = "yellow" if result.is_error else "green"
        self._console.print(Panel(escape(text), border_style=colour, expand=False))
        if expect_error:
            _expect(bool(result.is_error), f"{tool} was not refused")
            _expect(expect_error in text, f"{tool} was refused for another reason")
        else:
            _expect(not result.is_error, f"{tool} failed")
        return cast("dict[str, Any]", result.structured_content or {})

    async def _call_with_progress(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("waiting", total=None)

            async def show(progress: float, total: float | None, message: str | None) -> None:
                bar.update(task, completed=progress, total=total, description=escape(message or ""))

            return await self._client.call_tool(tool, arguments, progress_callback=show)

    def _heading(self, sentence: str) -> None:
        self._console.rule(f"[bold]{escape(sentence)}")

    def _say(self, sentence: str) -> None:
        self._console.print(escape(sentence))


class _SnapshotDemo(_Demo):
    """The main tools: list, create, restore, delete."""

    async def run(self) -> None:
        await self._show_tools()
        vm_id = await self._list_snapshots()
        snapshot_id, name = await self._create(vm_id)
        await self._restore(snapshot_id, name)
        await self._delete(snapshot_id, name)
        self._say("Done: a snapshot was created, restored as a new VM, and deleted with consent.")

    async def _list_snapshots(self) -> int:
        self._heading("Which snapshots of the training box do we have?")
        vms = await self._call("list_virtual_machines", {"search": "training-box"})
        vm_id = int(_first(vms, "virtual_machines")["id"])
        listed = await self._call("list_snapshots", {"vm_id": vm_id, "limit": 5})
        await self._call("inspect_snapshot", {"snapshot_id": _first(listed, "snapshots")["id"]})
        return vm_id

    async def _create(self, vm_id: int) -> tuple[int, str]:
        self._heading("Create a snapshot before the driver upgrade.")
        name = "training-box-before-driver-upgrade"
        request: dict[str, object] = {"vm_id": vm_id, "name": name, "labels": ["before-change"]}
        await self._call("create_snapshot", request, expect_error="shuts it off")
        self._say(
            "The VM is running, so the server did not interrupt it without consent."
            " The person allows it:"
        )
        request |= {"allow_interruption": True, "wait_seconds": 60}
        created = await self._call("create_snapshot", request, show_progress=True)
        _expect(created["outcome"] == "created", "the snapshot was not created in time")
        return int(created["snapshot"]["id"]), name

    async def _restore(self, snapshot_id: int, name: str) -> None:
        self._heading("Restore it as a new VM.")
        request: dict[str, object] = {
            "snapshot_id": snapshot_id,
            "new_vm_name": "training-box-copy",
        }
        planned = await self._call("restore_snapshot", request)
        _expect(planned["outcome"] == "confirmation_required", "a restore ran without consent")
        self._say("Nothing was changed. The person reads the plan and confirms it:")
        request |= {"plan_token": planned["plan_token"], "confirm": name, "wait_seconds": 60}
        restored = await self._call("restore_snapshot", request, show_progress=True)
        _expect(restored["outcome"] == "restored", "the new VM was not ACTIVE in time")

    async def _delete(self, snapshot_id: int, name: str) -> None:
        self._heading("Delete the snapshot that is no longer needed.")
        target: dict[str, object] = {"snapshot_id": snapshot_id}
        self._say("A model that skips the plan and invents the confirmation is refused:")
        skipping = target | {"confirm": name}
        await self._call("delete_snapshot", skipping, expect_error="plan_token is missing")
        planned = await self._call("delete_snapshot", target)
        _expect(planned["outcome"] == "confirmation_required", "a delete ran without consent")
        commit = target | {"plan_token": planned["plan_token"]}
        await self._call("delete_snapshot", commit | {"confirm": "yes"}, expect_error="words")
        deleted = await self._call("delete_snapshot", commit | {"confirm": name})
        _expect(deleted["outcome"] == "deleted", "the snapshot was not deleted")
        self._say("The same plan token cannot be used twice:")
        await self._call("delete_snapshot", commit | {"confirm": name}, expect_error="already used")


class _RetentionDemo(_Demo):
    """A clean-up by retention rules: review, plan, apply."""

    async def run(self) -> None:
        tools = await self._show_tools()
        self._heading("Which snapshots do we have, and what do they cost?")
        await self._call(
            "review_snapshots" if "review_snapshots" in tools else "list_snapshots", {}
        )
        plan = await self._plan()
        await self._apply(plan)
        self._say(
            "Done: the snapshots that no rule keeps were deleted with consent, and no others."
        )

    async def _plan(self) -> dict[str, Any]:
        self._heading(
            "Plan: keep three daily and two weekly snapshots of each VM, and those labelled keep."
        )
        rules = {"keep_daily": 3, "keep_weekly": 2, "keep_labels": ["keep"]}
        plan = await self._call("plan_retention", rules)
        _expect(plan["outcome"] == "confirmation_required", "the plan deletes nothing")
        return plan

    async def _apply(self, plan: Mapping[str, Any]) -> None:
        self._heading("Apply the plan.")
        planned = [decision["id"] for decision in plan["decisions"] if not decision["keep"]]
        before = await self._snapshot_ids()
        commit: dict[str, object] = {"plan_token": plan["plan_token"]}
        self._say("A model that invents the confirmation words is refused:")
        await self._call("apply_retention", commit | {"confirm": "yes"}, expect_error="words")
        self._say("The person reads the plan and confirms it:")
        commit |= {"confirm": plan["confirm_with"]}
        report = await self._call("apply_retention", commit, show_progress=True)
        deleted = [snapshot["id"] for snapshot in report["deleted"]]
        _expect(deleted == planned, "the deleted snapshots are not the planned ones")
        _expect(
            await self._snapshot_ids() == before - set(planned), "other snapshots were deleted too"
        )
        self._say("The same plan token cannot be used twice:")
        await self._call("apply_retention", commit, expect_error="already used")

    async def _snapshot_ids(self) -> set[int]:
        listed = await self._client.call_tool("list_snapshots", {"limit": 100})
        content = cast("dict[str, Any]", listed.structured_content or {})
        return {snapshot["id"] for snapshot in content["snapshots"]}


def _messages(group: BaseExceptionGroup[Exception]) -> list[str]:
    messages: list[str] = []
    for error in group.exceptions:
        messages += _messages(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return messages


def _first(result: Mapping[str, Any], key: str) -> dict[str, Any]:
    items = cast("list[dict[str, Any]]", result.get(key, []))
    _expect(bool(items), f"the list of {key} is empty")
    return items[0]


def _format_arguments(arguments: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_format_value(value)}" for name, value in arguments.items())


def _format_value(value: object) -> str:
    text = repr(value)
    return escape(text if len(text) <= _MAX_VALUE_WIDTH else text[: _MAX_VALUE_WIDTH - 1] + "…")


def _expect(condition: bool, failure: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise DemoError(failure)
