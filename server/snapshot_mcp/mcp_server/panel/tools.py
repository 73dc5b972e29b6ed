"""Tools that the panel calls; clients hide them from the model."""

from collections.abc import Collection
from typing import Annotated, Literal, get_args

from pydantic import Field

from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.mcp_server.tools.arguments import (
    Confirm,
    ContractId,
    NewVmName,
    PlanToken,
    Rehearsal,
    SnapshotId,
    SourceVmId,
    WaitSeconds,
)
from snapshot_mcp.mcp_server.tools.declaration import ToolContext, ToolDeclaration, declare_tool
from snapshot_mcp.mcp_server.tools.text.retention import render_report
from snapshot_mcp.mcp_server.tools.text.snapshots import render_delete_result, render_restore_result
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.models.panel import PanelCommit, PanelSnapshots, PanelVirtualMachine
from snapshot_mcp.operations.requests import Commit, RestoreSnapshotRequest

CommittedTool = Literal["delete_snapshot", "restore_snapshot", "apply_retention"]
COMMITTED_TOOLS: tuple[CommittedTool, ...] = get_args(CommittedTool)
"""Tools whose plans the panel can commit, each by its own case in `commit_from_panel`."""

Nonce = Annotated[
    str, Field(max_length=100, description="From the _meta of the plan's answer, for the panel")
]


def _render_snapshots(result: PanelSnapshots) -> str:
    return f"{result.total} snapshots; the panel shows {len(result.snapshots)} of them."


def _render_virtual_machine(result: PanelVirtualMachine) -> str:
    return f"VM {result.id} {quoted(result.name)} is {cell_text(result.status)}"


def _render_commit(result: PanelCommit) -> str:
    if result.deletion is not None:
        return render_delete_result(result.deletion)
    if result.restore is not None:
        return render_restore_result(result.restore)
    return render_report(result.retention) if result.retention else ""


@declare_tool(
    title="Snapshots for the panel",
    toolset=None,
    effect="reads",
    render=_render_snapshots,
    panel="only",
)
async def panel_snapshots(context: ToolContext, *, vm_id: SourceVmId = 0) -> PanelSnapshots:
    """For the panel: the newest 1,000 snapshots, with the facts that its timeline shows."""
    actions = tuple(tool.name for tool in TOOLS if tool.plans and tool.name in context.listed)
    return await (await context.operations()).panel.snapshots(vm_id, actions)


@declare_tool(
    title="A VM for the panel",
    toolset=None,
    effect="reads",
    render=_render_virtual_machine,
    panel="only",
)
async def panel_virtual_machine(context: ToolContext, *, vm_id: SourceVmId) -> PanelVirtualMachine:
    """For the panel: the current state of one VM, to follow a restore."""
    return await (await context.operations()).panel.virtual_machine(vm_id)


@declare_tool(
    title="Commit a plan that a person confirmed in the panel",
    toolset=None,
    effect="destroys",
    render=_render_commit,
    panel="only",
)
async def commit_from_panel(
    context: ToolContext,
    *,
    tool: CommittedTool,
    plan_token: PlanToken,
    nonce: Nonce,
    words: Confirm,
    snapshot_id: SnapshotId = 0,
    new_vm_name: NewVmName = "",
    contract_id: ContractId = 0,
    rehearsal: Rehearsal = False,
    wait_seconds: WaitSeconds = 0,
) -> PanelCommit:
    """For the panel: commit a plan that the person confirmed in it.

    The other arguments are those of the call that made the plan.
    """
    if tool not in context.listed:
        raise RefusedError(f"This server does not offer {tool}.", NOTHING_CHANGED)
    if not plan_token or not words:
        # Without both, the operations would make a new plan.
        raise RefusedError("plan_token or words are empty.", NOTHING_CHANGED)
    operations = await context.operations()
    approver = context.approver_with(nonce)
    commit = Commit(plan_token, words)
    match tool:
        case "delete_snapshot":
            deletion = await operations.delete_snapshot(snapshot_id, commit, approver)
            return PanelCommit(deletion=deletion)
        case "restore_snapshot":
            request = RestoreSnapshotRequest(
                snapshot_id, new_vm_name, contract_id or None, rehearsal
            )
            wait = context.limit_wait(wait_seconds)
            restore = await operations.restore_snapshot(request, commit, wait, approver)
            return PanelCommit(restore=restore)
        case "apply_retention":
            report = await operations.retention.apply(plan_token, words, approver)
            return PanelCommit(retention=report)


PANEL_TOOLS: tuple[ToolDeclaration, ...] = (
    panel_snapshots,
    panel_virtual_machine,
    commit_from_panel,
)
"""All tools of the panel, in the order in which they are listed."""


def select_panel_tools(listed: Collection[str]) -> list[ToolDeclaration]:
    """Return the panel's tools for a server that lists these tools for the model.

    Each needs a listed tool that shows the same data, or that makes the same change.
    """
    needed: dict[str, Collection[str]] = {
        panel_snapshots.name: ("list_snapshots",),
        panel_virtual_machine.name: ("list_virtual_machines",),
        commit_from_panel.name: COMMITTED_TOOLS,
    }
    return [tool for tool in PANEL_TOOLS if not set(needed[tool.name]).isdisjoint(listed)]
