"""`snapshot-mcp demo`: the main job before your eyes, with a real MCP client over stdio."""

import os
import sys
import tempfile
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

_DEMO_TIMEOUT_SECONDS = 180
_MAX_VALUE_WIDTH = 60


class DemoError(Exception):
    """Something was not as expected."""


def run_demo(*, retention: bool = False) -> bool:
    """Play the demo against a fresh embedded cloud in a temporary folder.

    Args:
        retention: play a tidy-up by policy in place of the main job.

    Returns:
        Whether everything was as expected.
    """
    console = Console()
    failures: list[str] = []
    try:
        anyio.run(_demo, console, _RetentionDemo if retention else _Demo)
    except* DemoError as group:
        failures += _sentences(group)
    except* TimeoutError:
        failures.append(f"it took more than {_DEMO_TIMEOUT_SECONDS} s")
    for failure in failures:
        console.print(f"[bold red]The demo failed:[/] {escape(failure)}")
    return not failures


async def _demo(console: Console, play: "type[_Demo]") -> None:
    with anyio.fail_after(_DEMO_TIMEOUT_SECONDS):
        async with _connected() as client:
            await play(console, client).run()


@asynccontextmanager
async def _connected() -> AsyncGenerator[Client]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SNAPSHOT_MCP_", "HYPERSTACK_"))
        }
        environment["SNAPSHOT_MCP_DATA_DIR"] = folder
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "snapshot_mcp"], env=environment
        )
        async with Client(server) as client:
            yield client


class _Demo:
    """The acts of the demo, in their order; each shows one call and what came back."""

    def __init__(self, console: Console, client: Client) -> None:
        self._console = console
        self._client = client

    async def run(self) -> None:
        await self._tell_tools()
        vm_id = await self._look_around()
        snapshot_id, name = await self._create(vm_id)
        await self._restore(snapshot_id, name)
        await self._delete(snapshot_id, name)
        self._say("Done: a snapshot was taken, brought back as a new VM, and deleted with consent.")

    async def _tell_tools(self) -> list[str]:
        tools = [tool.name for tool in (await self._client.list_tools()).tools]
        self._say(
            f"A real MCP client started the server over stdio. It offers: {', '.join(tools)}."
        )
        return tools

    async def _look_around(self) -> int:
        self._act("What snapshots do we have of the training box?")
        found = await self._call("list_virtual_machines", {"search": "training-box"})
        vm_id = int(_first(found, "virtual_machines")["id"])
        listed = await self._call("list_snapshots", {"vm_id": vm_id, "limit": 5})
        await self._call("inspect_snapshot", {"snapshot_id": _first(listed, "snapshots")["id"]})
        return vm_id

    async def _create(self, vm_id: int) -> tuple[int, str]:
        self._act("Take one before the driver upgrade.")
        name = "training-box-before-driver-upgrade"
        order: dict[str, object] = {"vm_id": vm_id, "name": name, "labels": ["before-change"]}
        await self._call("create_snapshot", order, expect_error="shuts it off")
        self._say("The VM runs, so the server refused to interrupt it unasked. The person agrees:")
        order |= {"allow_interruption": True, "wait_seconds": 60}
        created = await self._call("create_snapshot", order, with_bar=True)
        _expect(created["outcome"] == "created", "the snapshot was not created in time")
        return int(created["snapshot"]["id"]), name

    async def _restore(self, snapshot_id: int, name: str) -> None:
        self._act("Bring it back as a new machine.")
        order: dict[str, object] = {"snapshot_id": snapshot_id, "new_vm_name": "training-box-copy"}
        planned = await self._call("restore_snapshot", order)
        _expect(planned["outcome"] == "confirmation_required", "a restore ran without consent")
        self._say("Nothing happened yet. The person reads the plan and agrees:")
        order |= {"plan_token": planned["plan_token"], "confirm": name, "wait_seconds": 60}
        restored = await self._call("restore_snapshot", order, with_bar=True)
        _expect(restored["outcome"] == "restored", "the new VM was not ACTIVE in time")

    async def _delete(self, snapshot_id: int, name: str) -> None:
        self._act("Clear out what we don't need.")
        target: dict[str, object] = {"snapshot_id": snapshot_id}
        self._say("A model that skips the plan and invents its consent is refused:")
        skipping = target | {"confirm": name}
        await self._call("delete_snapshot", skipping, expect_error="plan_token is missing")
        planned = await self._call("delete_snapshot", target)
        _expect(planned["outcome"] == "confirmation_required", "a delete ran without consent")
        commit = target | {"plan_token": planned["plan_token"]}
        await self._call("delete_snapshot", commit | {"confirm": "yes"}, expect_error="words")
        deleted = await self._call("delete_snapshot", commit | {"confirm": name})
        _expect(deleted["outcome"] == "deleted", "the snapshot was not deleted")
        self._say("The same consent a second time is worth nothing:")
        await self._call("delete_snapshot", commit | {"confirm": name}, expect_error="already used")

    async def _call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        *,
        with_bar: bool = False,
        expect_error: str = "",
    ) -> dict[str, Any]:
        self._console.print(f"[bold cyan]{tool}[/] {_shown(arguments)}")
        result = await (self._with_bar if with_bar else self._plainly)(tool, dict(arguments))
        text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
        colour = "yellow" if result.is_error else "green"
        self._console.print(Panel(escape(text), border_style=colour, expand=False))
        if expect_error:
            _expect(bool(result.is_error), f"{tool} was not refused")
            _expect(expect_error in text, f"{tool} was refused for another reason")
        else:
            _expect(not result.is_error, f"{tool} failed")
        return cast("dict[str, Any]", result.structured_content or {})

    async def _plainly(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        return await self._client.call_tool(tool, arguments)

    async def _with_bar(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("waiting", total=None)

            async def show(progress: float, total: float | None, message: str | None) -> None:
                bar.update(task, completed=progress, total=total, description=escape(message or ""))

            return await self._client.call_tool(tool, arguments, progress_callback=show)

    def _act(self, sentence: str) -> None:
        self._console.rule(f"[bold]{escape(sentence)}")

    def _say(self, sentence: str) -> None:
        self._console.print(escape(sentence))


class _RetentionDemo(_Demo):
    """A tidy-up: review, plan, apply."""

    async def run(self) -> None:
        tools = await self._tell_tools()
        self._act("What have we got, and what does it cost us?")
        await self._call(
            "review_snapshots" if "review_snapshots" in tools else "list_snapshots", {}
        )
        plan = await self._plan()
        await self._apply(plan)
        self._say("Done: what the policy does not keep is gone, with consent, and nothing else.")

    async def _plan(self) -> dict[str, Any]:
        self._act("Keep three daily and two weekly ones of each VM, and what has the label keep.")
        policy = {"keep_daily": 3, "keep_weekly": 2, "keep_labels": ["keep"]}
        plan = await self._call("plan_retention", policy)
        _expect(plan["outcome"] == "confirmation_required", "the plan deletes nothing")
        return plan

    async def _apply(self, plan: Mapping[str, Any]) -> None:
        self._act("Carry it out.")
        planned = [it["id"] for it in plan["decisions"] if not it["keep"]]
        before = await self._ids()
        commit: dict[str, object] = {"plan_token": plan["plan_token"]}
        self._say("A model that invents the person's words is refused:")
        await self._call("apply_retention", commit | {"confirm": "yes"}, expect_error="words")
        self._say("The person reads the plan and agrees:")
        commit |= {"confirm": plan["confirm_with"]}
        report = await self._call("apply_retention", commit, with_bar=True)
        gone = [it["id"] for it in report["deleted"]]
        _expect(gone == planned, "what was deleted is not what was planned")
        _expect(await self._ids() == before - set(planned), "other snapshots are gone as well")
        self._say("The same consent a second time is worth nothing:")
        await self._call("apply_retention", commit, expect_error="already used")

    async def _ids(self) -> set[int]:
        listed = await self._client.call_tool("list_snapshots", {"limit": 100})
        content = cast("dict[str, Any]", listed.structured_content or {})
        return {it["id"] for it in content["snapshots"]}


def _sentences(group: BaseExceptionGroup[Exception]) -> list[str]:
    sentences: list[str] = []
    for failure in group.exceptions:
        nested = isinstance(failure, BaseExceptionGroup)
        sentences += _sentences(failure) if nested else [str(failure)]
    return sentences


def _first(answer: Mapping[str, Any], key: str) -> dict[str, Any]:
    entries = cast("list[dict[str, Any]]", answer.get(key, []))
    _expect(bool(entries), f"the list of {key} is empty")
    return entries[0]


def _shown(arguments: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in arguments.items())


def _short(value: object) -> str:
    text = repr(value)
    return escape(text if len(text) <= _MAX_VALUE_WIDTH else text[: _MAX_VALUE_WIDTH - 1] + "…")


def _expect(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise DemoError(otherwise)
