"""Tools of the toolset `retention`. Their docstrings are written for the model that reads them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from snapshot_mcp.mcp_server.tools.arguments import (
    Confirm,
    Cursor,
    Limit,
    PlanToken,
    SourceVmId,
)
from snapshot_mcp.mcp_server.tools.declaration import ToolContext, declare_tool
from snapshot_mcp.mcp_server.tools.text import retention as text
from snapshot_mcp.models.cloud import Labels
from snapshot_mcp.models.retention import RetentionPlan, RetentionReport
from snapshot_mcp.operations.requests import RetentionGrouping, RetentionRequest

_MAX_ZONE_LENGTH = 60


def _is_span(text: str) -> str:
    from snapshot_mcp.rules.retention_policy import parse_span  # noqa: PLC0415 - when used

    if text:
        parse_span(text)
    return text


def _is_zone(name: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - when used

    try:
        ZoneInfo(name[:_MAX_ZONE_LENGTH])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone's name such as UTC or Europe/Berlin") from None
    return name


Count = Annotated[int, Field(ge=-1, le=100_000)]
"""As `rules.retention_policy.Count`, which the start need not know of."""
Span = Annotated[
    str, Field(description="As 30d or 1y6m, before the newest"), AfterValidator(_is_span)
]
Zone = Annotated[str, AfterValidator(_is_zone)]


@declare_tool(
    title="Plan a tidy-up by policy",
    toolset="retention",
    effect="reads",
    render=text.plan,
    plans=True,
    panel="shows",
)
async def plan_retention(  # noqa: PLR0913 - restic's vocabulary has as many words
    context: ToolContext,
    *,
    keep_last: Count = 0,
    keep_hourly: Count = 0,
    keep_daily: Count = 0,
    keep_weekly: Count = 0,
    keep_monthly: Count = 0,
    keep_yearly: Count = 0,
    keep_within: Span = "",
    keep_labels: Labels = [],  # noqa: B006 - becomes a default in a schema, never mutated
    group_by: RetentionGrouping = "vm",
    time_zone: Zone = "UTC",
    vm_id: SourceVmId = 0,
    limit: Limit = 20,
    cursor: Cursor = "",
) -> RetentionPlan:
    """Tell which snapshots a policy keeps and which it would delete, and why.

    It changes nothing. The rules are those of restic forget; what to keep is the person's to say.
    Show the plan to the person before apply_retention.
    """
    request = RetentionRequest(
        keep_last,
        keep_hourly,
        keep_daily,
        keep_weekly,
        keep_monthly,
        keep_yearly,
        keep_within,
        tuple(keep_labels),
        group_by,
        time_zone,
        vm_id,
    )
    retention = (await context.operations()).retention
    return await retention.plan(request, limit, cursor, context.approver)


@declare_tool(
    title="Carry out a tidy-up",
    toolset="retention",
    effect="destroys",
    render=text.report,
    panel="shows",
)
async def apply_retention(
    context: ToolContext, *, plan_token: PlanToken, confirm: Confirm
) -> RetentionReport:
    """Delete for good the snapshots that a plan of plan_retention names.

    Call it only when the person agreed to that plan. plan_token works once.
    """
    retention = (await context.operations()).retention
    return await retention.apply(plan_token, confirm, context.approver)


RETENTION_TOOLS = (plan_retention, apply_retention)
