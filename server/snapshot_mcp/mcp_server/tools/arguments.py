"""The arguments of the tools. What a field is, the models say; how to use it, these say."""

from datetime import datetime
from typing import Annotated, Any, Literal

from mcp.server.mcpserver.context import Context
from pydantic import AfterValidator, Field

from snapshot_mcp.core.clock import parse_utc
from snapshot_mcp.models.cloud import Description, Id, Labels, Name, Snapshot
from snapshot_mcp.operations import Operations, OperationsFactory

MAX_PAGE_SIZE = 100
MAX_WAIT_SECONDS = 600

ToolContext = Context[OperationsFactory, Any]


async def operations_of(ctx: ToolContext) -> Operations:
    """What can be done; the first call of the process opens it."""
    return await ctx.request_context.lifespan_context()


def _described(field: str) -> Any:  # noqa: ANN401 - metadata for Annotated
    return Field(description=Snapshot.model_fields[field].description)


def _is_time(text: str) -> str:
    parse_time(text)
    return text


def parse_time(text: str) -> datetime | None:
    """A date or time in ISO 8601; without a zone it is UTC. None for an empty text.

    Raises:
        ValueError: it is neither.
    """
    if not text:
        return None
    try:
        return parse_utc(text)
    except ValueError:
        raise ValueError("must be a date or time such as 2026-05-31 or 2026-05-31T08:00Z") from None


SnapshotId = Annotated[Id, _described("id")]
SourceVmId = Annotated[Id, _described("vm_id")]
SnapshotName = Annotated[Name, _described("name")]
SnapshotDescription = Annotated[Description, _described("description")]
SnapshotLabels = Annotated[Labels, _described("labels")]
ImageName = Annotated[Name, Field(description="Name of the image")]
ImageLabels = Annotated[Labels, Field(description="Labels of the image")]
Search = Annotated[str, Field(max_length=100, description="Part of the name")]
OneLabel = Annotated[str, Field(max_length=100, description="Exact label")]
TakenSince = Annotated[
    str, Field(max_length=40, description="ISO date or time, UTC"), AfterValidator(_is_time)
]
TakenBefore = Annotated[str, Field(max_length=40), AfterValidator(_is_time)]
State = Literal["any", "ready", "pending", "failed"]
Order = Literal["newest", "oldest", "largest"]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)]
RecentDays = Annotated[int, Field(ge=1, le=365)]
MostNamed = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE, description="Entries named a finding")]
Cursor = Annotated[str, Field(max_length=200, description="next_cursor of the page before")]
WaitSeconds = Annotated[
    int, Field(ge=0, le=MAX_WAIT_SECONDS, description="How long to wait for the end")
]
AllowInterruption = Annotated[
    bool, Field(description="The person accepts that an ACTIVE VM is shut off and started again")
]
NewVmName = Annotated[Name, Field(description="Name of the VM to make")]
ContractId = Annotated[Id, Field(description="Contract to bill; none: on demand")]
Rehearsal = Annotated[
    bool, Field(description="Only to see that it works and how long it takes; wait_seconds 600")
]
PlanToken = Annotated[str, Field(max_length=1_000, description="From the plan")]
Confirm = Annotated[str, Field(max_length=200, description="The words the person agreed to")]
