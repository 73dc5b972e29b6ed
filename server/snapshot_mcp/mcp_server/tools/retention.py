"""Tools of the toolset `retention`. Their docstrings are written for the model that reads them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from snapshot_mcp.core.markup import rearm
from snapshot_mcp.mcp_server.tools.arguments import (
    Confirm,
    Cursor,
    Limit,
    PlanToken,
    SourceVmId,
)
from snapshot_mcp.mcp_server.tools.declaration import ToolContext, declare_tool
from snapshot_mcp.mcp_server.tools.text.retention import render_plan, render_report
from snapshot_mcp.models.cloud import Labels
from snapshot_mcp.models.retention import RetentionPlan, RetentionReport
from snapshot_mcp.operations.requests import RetentionGrouping, RetentionRequest

_MAX_ZONE_LENGTH = 60


def _check_span(span: str) -> str:
    from snapshot_mcp.rules.retention_policy import parse_span  # noqa: PLC0415 - at first use

    if span:
        parse_span(span)
    return span


def _check_zone(name: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - at first use

    try:
        ZoneInfo(name[:_MAX_ZONE_LENGTH])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be the name of a time zone such as UTC or Europe/Berlin") from None
    return name


Count = Annotated[int, Field(ge=-1, le=100_000)]
"""As `rules.retention_policy.Count`, which is not imported at the start."""
Span = Annotated[
    str, Field(description="Such as 30d or 1y6m, before the newest"), AfterValidator(_check_span)
]
Zone = Annotated[str, AfterValidator(_check_zone)]


@declare_tool(
    title="Plan retention",
    toolset="retention",
    effect="reads",
    render=render_plan,
    plans=True,
    panel="shows",
)
async def plan_retention(  # noqa: PLR0913 - one argument for each of restic's rules
    context: ToolContext,
    *,
    keep_last: Count = 0,
    keep_hourly: Count = 0,
    keep_daily: Count = 0,
    keep_weekly: Count = 0,
    keep_monthly: Count = 0,
    keep_yearly: Count = 0,
    keep_within: Span = "",
    keep_labels: Labels = [],  # noqa: B006 - a default in a schema, never mutated
    group_by: RetentionGrouping = "vm",
    time_zone: Zone = "UTC",
    vm_id: SourceVmId = 0,
    limit: Limit = 20,
    cursor: Cursor = "",
) -> RetentionPlan:
    """Show which snapshots a policy keeps and which it would delete, and why.

    Changes nothing. The rules are those of restic forget; the person decides what to keep. Show
    the plan to the person before apply_retention.
    """
    request = RetentionRequest(
        keep_last,
        keep_hourly,
        keep_daily,
        keep_weekly,
        keep_monthly,
        keep_yearly,
        keep_within,
        tuple(map(rearm, keep_labels)),
        group_by,
        time_zone,
        vm_id,
    )
    retention = (await context.operations()).retention
    return await retention.plan(request, limit, cursor, context.approver)


@declare_tool(
    title="Apply a retention plan",
    toolset="retention",
    effect="destroys",
    render=render_report,
    panel="shows",
)
async def apply_retention(
    context: ToolContext, *, plan_token: PlanToken, confirm: Confirm
) -> RetentionReport:
    """Permanently delete the snapshots that a plan of plan_retention names.

    Call it only when the person agreed to that plan. plan_token works once.
    """
    retention = (await context.operations()).retention
    return await retention.apply(plan_token, confirm, context.approver)


RETENTION_TOOLS = (plan_retention, apply_retention)
