"""Arguments of the tools: their types, and the model that checks them.

An argument with the meaning of a field of a snapshot has the description of that field.
"""

import json
from collections.abc import Callable
from datetime import datetime
from inspect import signature
from typing import Annotated, Any, Literal, cast, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from snapshot_mcp.core.clock import parse_utc
from snapshot_mcp.core.errors import NOTHING_CHANGED, RefusedError
from snapshot_mcp.core.markup import rearm
from snapshot_mcp.models.cloud import Description, Id, Labels, Name, Snapshot

MAX_PAGE_SIZE = 100
MAX_WAIT_SECONDS = 300
MAX_SILENT_WAIT_SECONDS = 50
"""Longest wait for a client that requested no progress notifications.

It would not know the id of what it created if it stopped waiting, as many do after 60 seconds.
"""
MAX_ARGUMENTS = 100
"""Arguments of a call. A validator would build an error for each one that is unknown."""


class ToolArguments(BaseModel):
    """Base of the argument models: no conversion between types, and no unknown arguments.

    `parse_arguments` first converts the numbers and lists of which a schema or a client has another
    notion than pydantic.
    """

    model_config = ConfigDict(strict=True, extra="forbid")


def argument_model(function: Callable[..., object]) -> type[ToolArguments]:
    """Return the model of the keyword-only parameters of `function`."""
    fields: dict[str, Any] = {
        parameter.name: (
            parameter.annotation,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in signature(function, eval_str=True).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(f"{function.__name__}Arguments", __base__=ToolArguments, **fields)


def parse_arguments(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Return the checked arguments, with the defaults of those that are missing.

    Raises:
        RefusedError: there are more arguments than any tool has.
        ValidationError: an argument is missing, unknown or not valid.
    """
    if len(values) > MAX_ARGUMENTS:
        known = ", ".join(model.model_fields)
        raise RefusedError(
            f"The call has {len(values):,} arguments, and the limit is {MAX_ARGUMENTS}."
            f" {NOTHING_CHANGED}",
            f"The arguments of this tool are {known}." if known else "This tool has no arguments.",
        )
    converted: dict[str, object] = {}
    for name in values.keys() & model.model_fields.keys():
        annotation = model.model_fields[name].annotation
        if annotation is int:
            converted[name] = _convert_integer(values[name])
        elif get_origin(annotation) is list:
            converted[name] = _decode_list(values[name])
    arguments = model.model_validate(values | converted)
    return {name: getattr(arguments, name) for name in model.model_fields}


def _convert_integer(value: object) -> object:
    """Return the integer of a number such as 1001.0 or 1e3; other values unchanged.

    Source: JSON Schema, 6.1.1: an integer is any number without a fractional part.
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _decode_list(value: object) -> object:
    """Return the list in a JSON text, as Claude Desktop sends lists; other values unchanged."""
    if not isinstance(value, str):
        return value
    try:
        decoded: object = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return cast("list[object]", decoded) if isinstance(decoded, list) else value


def _description_of(field: str) -> Any:  # noqa: ANN401 - metadata for Annotated
    return Field(description=Snapshot.model_fields[field].description)


def _check_time(text: str) -> str:
    parse_time(text)
    return text


def parse_time(text: str) -> datetime | None:
    """Parse a date or time in ISO 8601; UTC without a zone, None for an empty text.

    Raises:
        ValueError: the text is neither a date nor a time.
    """
    if not text:
        return None
    try:
        return parse_utc(text)
    except ValueError:
        raise ValueError("must be a date or time such as 2026-05-31 or 2026-05-31T08:00Z") from None


SnapshotId = Annotated[Id, _description_of("id")]
SourceVmId = Annotated[Id, _description_of("vm_id")]
SnapshotName = Annotated[Name, _description_of("name")]
SnapshotDescription = Annotated[Description, _description_of("description")]
SnapshotLabels = Annotated[Labels, _description_of("labels")]
ImageName = Annotated[Name, Field(description="Name of the image")]
ImageLabels = Annotated[Labels, Field(description="Labels of the image")]
Search = Annotated[
    str, Field(max_length=100, description="Part of the name"), AfterValidator(rearm)
]
LabelFilter = Annotated[
    str, Field(max_length=100, description="Exact label"), AfterValidator(rearm)
]
CreatedAfter = Annotated[
    str, Field(max_length=40, description="ISO date or time, UTC"), AfterValidator(_check_time)
]
CreatedBefore = Annotated[str, Field(max_length=40), AfterValidator(_check_time)]
StateFilter = Literal["any", "ready", "pending", "failed", "deleting"]
Order = Literal["newest", "oldest", "largest"]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)]
RecentDays = Annotated[int, Field(ge=1, le=365)]
FindingLimit = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE, description="Entries per finding")]
Cursor = Annotated[str, Field(max_length=200, description="next_cursor of the previous page")]
WaitSeconds = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_WAIT_SECONDS,
        description="How long to wait; your client may give up earlier, often after 60 s",
    ),
]
AllowInterruption = Annotated[
    bool, Field(description="The person accepts that an ACTIVE VM is shut off and restarted")
]
NewVmName = Annotated[Name, Field(description="Name of the new VM")]
ContractId = Annotated[Id, Field(description="Contract to bill; default: on demand")]
Rehearsal = Annotated[bool, Field(description="Only to test the restore and time it")]
RehearsalVmId = Annotated[Id, Field(description="Id of the VM")]
PlanToken = Annotated[str, Field(max_length=1_000, description="From the plan")]
Confirm = Annotated[str, Field(max_length=200, description="The words the person agreed to")]
