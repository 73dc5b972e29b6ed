"""The tools that the panel calls by itself; a client hides them from the model."""

from collections.abc import Awaitable, Callable, Collection
from functools import cache
from typing import Annotated, Literal, TypeVar, get_args

from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import Field

from snapshot_mcp.core.errors import RefusedError
from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.mcp_server.elicitation import ClientApprover
from snapshot_mcp.mcp_server.panel.binding import mark_panel_only
from snapshot_mcp.mcp_server.tools.arguments import (
    Confirm,
    ContractId,
    NewVmName,
    PlanToken,
    Rehearsal,
    SnapshotId,
    SourceVmId,
    ToolContext,
    WaitSeconds,
    operations_of,
)
from snapshot_mcp.mcp_server.tools.registry import DESTROYS, READS, make_tool
from snapshot_mcp.mcp_server.tools.text import retention as retention_text
from snapshot_mcp.mcp_server.tools.text import snapshots as text
from snapshot_mcp.models.cloud import FrozenModel
from snapshot_mcp.models.panel import PanelCommit, PanelSnapshots, PanelVirtualMachine
from snapshot_mcp.operations.requests import Commit, RestoreSnapshotRequest

A = TypeVar("A", bound=FrozenModel)
Committed = Literal["delete_snapshot", "restore_snapshot", "apply_retention"]
COMMITTED: tuple[Committed, ...] = get_args(Committed)
_PLANNING = ("delete_snapshot", "restore_snapshot", "plan_retention")
Nonce = Annotated[
    str, Field(max_length=100, description="From the _meta of the plan's answer, for the panel")
]


class PanelTools:
    """The tools, which know what else the client is offered.

    Args:
        offered: names of the tools that the client is offered.
    """

    def __init__(self, offered: Collection[str]) -> None:
        self._plans = tuple(name for name in _PLANNING if name in offered)
        self._commits = tuple(name for name in COMMITTED if name in offered)

    def made(self) -> list[Tool]:
        """The tools, in the order in which they are listed."""
        tools = [
            _tool(self.panel_snapshots, _counted, "Snapshots for the panel", READS),
            _tool(self.panel_virtual_machine, _vm, "A VM for the panel", READS),
        ]
        if self._commits:
            title = "Carry out what was agreed to in the panel"
            tools.append(_tool(self.commit_from_panel, _commit, title, DESTROYS))
        return tools

    async def panel_snapshots(self, ctx: ToolContext, *, vm_id: SourceVmId = 0) -> PanelSnapshots:
        """For the panel: the newest 1,000 snapshots, with what its timeline shows of each."""
        return await (await operations_of(ctx)).panel.snapshots(vm_id, self._plans)

    async def panel_virtual_machine(
        self, ctx: ToolContext, *, vm_id: SourceVmId
    ) -> PanelVirtualMachine:
        """For the panel: one VM as it is now, to follow a restore."""
        return await (await operations_of(ctx)).panel.virtual_machine(vm_id)

    async def commit_from_panel(
        self,
        ctx: ToolContext,
        *,
        tool: Committed,
        plan_token: PlanToken,
        nonce: Nonce,
        words: Confirm,
        snapshot_id: SnapshotId = 0,
        new_vm_name: NewVmName = "",
        contract_id: ContractId = 0,
        rehearsal: Rehearsal = False,
        wait_seconds: WaitSeconds = 0,
    ) -> PanelCommit:
        """For the panel: carry out a plan that the person agreed to in it.

        The other arguments are those of the call that made the plan.
        """
        if tool not in self._commits:
            raise RefusedError(f"This server does not offer {tool}.", "Nothing was changed.")
        if not plan_token or not words:
            # Without both it would be taken for a question for a plan.
            raise RefusedError("plan_token or words are empty.", "Nothing was changed.")
        operations, person = await operations_of(ctx), ClientApprover(ctx, panel_nonce=nonce)
        commit = Commit(plan_token, words)
        match tool:
            case "delete_snapshot":
                deletion = await operations.delete_snapshot(snapshot_id, commit, person)
                return PanelCommit(deletion=deletion)
            case "restore_snapshot":
                order = RestoreSnapshotRequest(
                    snapshot_id, new_vm_name, contract_id or None, rehearsal
                )
                restore = await operations.restore_snapshot(order, commit, wait_seconds, person)
                return PanelCommit(restore=restore)
            case "apply_retention":
                report = await operations.retention.apply(plan_token, words, person)
                return PanelCommit(retention=report)


@cache
def panel_tools(offered: frozenset[str]) -> tuple[Tool, ...]:
    """The panel's tools, beside those that are offered; made once a process, for it takes long."""
    return tuple(PanelTools(offered).made())


def _tool(
    function: Callable[..., Awaitable[A]],
    render: Callable[[A], str],
    title: str,
    hints: ToolAnnotations,
) -> Tool:
    # The page is of this server and knows what it is answered: every start would pay for a schema.
    made = make_tool(function, render, title=title, hints=hints, describes_answer=False)
    return mark_panel_only(made)


def _counted(answer: PanelSnapshots) -> str:
    return f"{answer.total} snapshots, of which {len(answer.snapshots)} are shown in the panel."


def _vm(answer: PanelVirtualMachine) -> str:
    return f"VM {answer.id} {quoted(answer.name)} is {cell_text(answer.status)}"


def _commit(answer: PanelCommit) -> str:
    if answer.deletion is not None:
        return text.delete_result(answer.deletion)
    if answer.restore is not None:
        return text.restore_result(answer.restore)
    return retention_text.report(answer.retention) if answer.retention else ""
