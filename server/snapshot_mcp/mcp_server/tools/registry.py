"""Makes a tool of a function: strict arguments, our error texts, one compact answer.

The SDK's own tools ignore unknown arguments, take "3" for 3 and relay a validator's text, which
holds the rejected values. Ours do not.
"""

from collections.abc import Awaitable, Callable, Sequence
from inspect import signature
from typing import Any, TypeVar, cast, get_type_hints

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from snapshot_mcp.core.errors import CloudError, SnapshotMcpError
from snapshot_mcp.core.instrumentation import observe_call
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quoted, sanitize
from snapshot_mcp.mcp_server.context import on_behalf_of
from snapshot_mcp.mcp_server.elicitation import InputRequired
from snapshot_mcp.mcp_server.tools.schema import PlainSchema
from snapshot_mcp.models.cloud import FrozenModel

A = TypeVar("A", bound=FrozenModel)

READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)
DESTROYS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)

PANEL_META = "snapshot-mcp/panel"
"""Key of a result's `_meta` for the panel."""

_MAX_REPORTED_ERRORS = 5


class SnapshotTool(Tool):
    """A tool whose answer is one model: compact text for the reader, the same facts structured."""

    render: Callable[[Any], str] = Field(default=str, exclude=True)

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,  # noqa: FBT001, FBT002 - the SDK's own signature
    ) -> CallToolResult | InputRequiredResult:
        """Check the arguments, call the function, and shape its answer or the question to a person.

        Raises:
            ToolError: with a sentence of ours, for everything that was foreseen.
        """
        del convert_result
        try:
            with on_behalf_of(context), observe_call(self.name):
                answer = cast("FrozenModel", await super().run(arguments, context))
        except ToolError as error:
            if isinstance(error.__cause__, InputRequired):
                return error.__cause__.result
            if isinstance(error.__cause__, CloudError) and error.__cause__.retry_after is not None:
                return _told_when(error.__cause__, error.__cause__.retry_after)
            raise _translated(error) from error.__cause__
        return CallToolResult(
            content=[TextContent(type="text", text=self.render(answer))],
            structured_content=answer.model_dump(mode="json", exclude_none=True),
            _meta=_for_the_panel(answer),
        )


def make_tool(
    function: Callable[..., Awaitable[A]],
    render: Callable[[A], str],
    *,
    title: str,
    hints: ToolAnnotations,
    describes_answer: bool = True,
) -> Tool:
    """The tool of `function`: its name, docstring, parameters and result make the definition.

    Args:
        function: what is called.
        render: makes the text of an answer.
        title: for people.
        hints: what it may do.
        describes_answer: whether the definition has the schema of the answer.
    """
    arguments = _arguments_of(function)
    metadata = FuncMetadata(arg_model=arguments)
    if describes_answer:
        answer: type[BaseModel] = get_type_hints(function)["return"]
        schema = answer.model_json_schema(schema_generator=PlainSchema, mode="serialization")
        metadata = FuncMetadata(arg_model=arguments, output_model=answer, output_schema=schema)
    return SnapshotTool(
        fn=function,
        name=function.__name__,
        title=title,
        description=" ".join((function.__doc__ or "").split()),
        parameters=arguments.model_json_schema(schema_generator=PlainSchema),
        fn_metadata=metadata,
        is_async=True,
        context_kwarg="ctx",
        annotations=hints,
        render=render,
    )


class _StrictArguments(ArgModelBase):
    model_config = ConfigDict(strict=True, extra="forbid")


def _arguments_of(function: Callable[..., object]) -> type[ArgModelBase]:
    """The model of the parameters that a client gives: those that are given by name."""
    # Not by Tool.from_function: it makes a model and a schema that would be thrown away.
    given = [
        parameter
        for parameter in signature(function, eval_str=True).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    fields: dict[str, Any] = {
        parameter.name: (
            parameter.annotation,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in given
    }
    return create_model(f"{function.__name__}Arguments", __base__=_StrictArguments, **fields)


def _for_the_panel(answer: FrozenModel) -> dict[str, Any] | None:
    """What the model does not read: clients keep `_meta` to themselves and their panel."""
    nonce = getattr(answer, "panel_nonce", None)
    return None if nonce is None else {PANEL_META: {"nonce": nonce}}


def _told_when(error: CloudError, retry_after: float) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=str(error))],
        structured_content={"retry_after": round(retry_after, 1)},
        is_error=True,
    )


def _translated(error: ToolError) -> ToolError:
    cause = error.__cause__
    if isinstance(cause, SnapshotMcpError):
        return ToolError(str(cause))
    if isinstance(cause, ValidationError) and not isinstance(error, UnexpectedToolError):
        return ToolError(_argument_errors(cause.errors(include_url=False, include_input=False)))
    return error


def _argument_errors(errors: Sequence[ErrorDetails]) -> str:
    told = [f"{_argument(error)} {_complaint(error)}." for error in errors[:_MAX_REPORTED_ERRORS]]
    return " ".join([*told, "Nothing was changed. Correct the arguments and call again."])


def _argument(error: ErrorDetails) -> str:
    name, *rest = (sanitize(str(part), MAX_NAME_LENGTH).text for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"There is no argument {quoted(name)}: it"
    return name + "".join(f"[{part}]" for part in rest)


def _complaint(error: ErrorDetails) -> str:
    return _COMPLAINTS.get(error["type"], "is not valid").format_map(error.get("ctx", {}))


_COMPLAINTS = {
    "extra_forbidden": "was not understood",
    "missing": "is missing",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be one of {expected}",
    "value_error": "{error}",
}
