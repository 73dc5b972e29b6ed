"""Handlers of tools/list and tools/call.

Arguments are checked strictly, and every error message is the server's own: a validator's message
would repeat the rejected values.
"""

import logging
from collections.abc import Sequence
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from snapshot_mcp.core.errors import NOTHING_CHANGED, CloudError, SnapshotMcpError
from snapshot_mcp.core.instrumentation import observe_call
from snapshot_mcp.core.request_context import SendResourceUpdated
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quoted, sanitize
from snapshot_mcp.core.validation import UNKNOWN_FIELD, describe_error
from snapshot_mcp.mcp_server.context import EMBEDDED_NOTE, RequestContext, on_behalf_of
from snapshot_mcp.mcp_server.elicitation import InputRequired
from snapshot_mcp.mcp_server.tools.arguments import parse_arguments
from snapshot_mcp.mcp_server.tools.declaration import (
    EMBEDDED_FIELD,
    ToolContext,
    ToolDeclaration,
)
from snapshot_mcp.models.cloud import FrozenModel

PANEL_META = "snapshot-mcp/panel"
"""Key of the `_meta` that only the panel reads."""

_MAX_REPORTED_ERRORS = 5

logger = logging.getLogger(__name__)


class ToolHandlers:
    """Lists and calls the tools of one server.

    Args:
        tools: the tools, in the order in which they are listed.
        notify: receives the URIs of resources that a call changes.
        embedded: whether the cloud is the embedded one.
    """

    def __init__(
        self, tools: Sequence[ToolDeclaration], notify: SendResourceUpdated, *, embedded: bool
    ) -> None:
        self._embedded = embedded
        self._tools = {tool.name: tool for tool in tools}
        self._notify = notify

    async def list_tools(
        self, _request: RequestContext, _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        """Handle tools/list."""
        return ListToolsResult(tools=[tool.definition for tool in self._tools.values()])

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """Return the input schema of the tool of this name; None if there is none."""
        return self._tools[name].definition.input_schema if name in self._tools else None

    async def call_tool(
        self, request: RequestContext, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        """Handle tools/call.

        Raises:
            MCPError: the SDK answers with a protocol error.
        """
        tool = self._tools.get(params.name)
        if tool is None:
            return _build_error(f"Unknown tool: {sanitize(params.name, MAX_NAME_LENGTH).text}")
        try:
            with on_behalf_of(request, self._notify), observe_call(tool.name):
                result = _build_result(tool, await self._run(tool, request, params))
        except MCPError:
            raise
        except InputRequired as question:
            return question.result
        except Exception as error:  # noqa: BLE001 - the client must not see an internal error
            result = _error_result(tool, error)
        return _name_embedded_cloud(tool, result) if self._embedded else result

    async def _run(
        self, tool: ToolDeclaration, request: RequestContext, params: CallToolRequestParams
    ) -> FrozenModel:
        arguments = parse_arguments(tool.arguments, params.arguments or {})
        shows_panel = tool.panel != "none"
        context = ToolContext(request, params, frozenset(self._tools), self._embedded, shows_panel)
        return await tool.function(context, **arguments)


def _build_result(tool: ToolDeclaration, result: FrozenModel) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=tool.render(result))],
        structured_content=result.model_dump(mode="json", exclude_none=True),
        _meta=_panel_meta(result),
    )


def _name_embedded_cloud(tool: ToolDeclaration, result: CallToolResult) -> CallToolResult:
    """Return a result that says that the cloud is the embedded one, if the tool must say so."""
    if not tool.is_about_a_change and tool.panel != "only":
        return result
    content: dict[str, Any] = {**(result.structured_content or {}), EMBEDDED_FIELD: True}
    blocks = [
        TextContent(type="text", text=f"{block.text}\n{EMBEDDED_NOTE}")
        if tool.is_about_a_change and isinstance(block, TextContent)
        else block
        for block in result.content
    ]
    return result.model_copy(update={"structured_content": content, "content": blocks})


def _panel_meta(result: FrozenModel) -> dict[str, Any] | None:
    """Return the nonce for the panel; clients do not show `_meta` to the model."""
    nonce = getattr(result, "panel_nonce", None)
    return None if nonce is None else {PANEL_META: {"nonce": nonce}}


def _error_result(tool: ToolDeclaration, error: Exception) -> CallToolResult:
    if isinstance(error, SnapshotMcpError):
        return _build_error(str(error), _retry_after(error))
    if isinstance(error, ValidationError) and error.title == tool.arguments.__name__:
        return _build_error(_describe_arguments(error))
    logger.error("tool %s raised an unexpected exception", tool.name, exc_info=error)
    return _build_error(f"Error executing tool {tool.name}")


def _retry_after(error: SnapshotMcpError) -> dict[str, Any] | None:
    if not isinstance(error, CloudError) or error.retry_after is None:
        return None
    return {"retry_after": round(error.retry_after, 1)}


def _build_error(text: str, content: dict[str, Any] | None = None) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=content, is_error=True
    )


def _describe_arguments(error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_input=False)
    sentences = [_describe_argument(details) for details in errors[:_MAX_REPORTED_ERRORS]]
    return " ".join([*sentences, NOTHING_CHANGED, "Correct the arguments and call again."])


def _describe_argument(details: ErrorDetails) -> str:
    name, *rest = (sanitize(str(part), MAX_NAME_LENGTH).text for part in details["loc"])
    if details["type"] == UNKNOWN_FIELD:
        return f"There is no argument {quoted(name)}."
    return name + "".join(f"[{part}]" for part in rest) + f" {describe_error(details)}."
