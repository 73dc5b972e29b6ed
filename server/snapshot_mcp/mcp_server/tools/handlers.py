"""Handlers of tools/list and tools/call.

Arguments are checked strictly, and every error message is the server's own: a validator's message
would repeat the rejected values.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, cast

from mcp.server.apps import client_supports_apps
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
from snapshot_mcp.core.markup import MARKUP_NOTE, shows_markup, watching_for_markup
from snapshot_mcp.core.request_context import SendResourceUpdated
from snapshot_mcp.core.sanitize import (
    MAX_NAME_LENGTH,
    contains_markup,
    quote_unless_word,
    quoted,
    sanitize,
)
from snapshot_mcp.core.validation import UNKNOWN_FIELD, describe_error
from snapshot_mcp.mcp_server.context import EMBEDDED_NOTE, RequestContext, on_behalf_of
from snapshot_mcp.mcp_server.elicitation import InputRequired
from snapshot_mcp.mcp_server.tools.arguments import parse_arguments
from snapshot_mcp.mcp_server.tools.declaration import (
    EMBEDDED_FIELD,
    MARKUP_FIELD,
    ToolContext,
    ToolDeclaration,
)
from snapshot_mcp.models.cloud import FrozenModel

PANEL_META = "snapshot-mcp/panel"
"""Key of the `_meta` that only the panel reads."""

_MAX_REPORTED_ERRORS = 5
_OPAQUE_FIELDS = frozenset({"plan_token", "next_cursor"})
"""Fields with text of this server's own, in which an underscore means nothing."""

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
        self, request: RequestContext, _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        """Handle tools/list."""
        tools = [tool for tool in self._tools.values() if _is_offered(tool, request)]
        return ListToolsResult(tools=[tool.definition for tool in tools])

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
        with watching_for_markup():
            if tool is None or not _is_offered(tool, request):
                name = quote_unless_word(sanitize(params.name, MAX_NAME_LENGTH).text)
                return _flag_markup(_build_error(f"Unknown tool: {name}"))
            try:
                result = _flag_markup(await self._call(tool, request, params))
            except InputRequired as question:
                return question.result
        return _name_embedded_cloud(tool, result) if self._embedded else result

    async def _call(
        self, tool: ToolDeclaration, request: RequestContext, params: CallToolRequestParams
    ) -> CallToolResult:
        """Return the result of a call, also if it is an error."""
        try:
            with on_behalf_of(request, self._notify), observe_call(tool.name):
                return _build_result(tool, await self._run(tool, request, params))
        except (MCPError, InputRequired):
            raise
        except Exception as error:  # noqa: BLE001 - the client must not see an internal error
            return _error_result(tool, error)

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


def _is_offered(tool: ToolDeclaration, request: RequestContext) -> bool:
    """Return whether the client can use a tool: those of the panel need a client that shows it.

    Another client would offer them to its model.
    """
    return tool.panel != "only" or client_supports_apps(request)


def _flag_markup(result: CallToolResult) -> CallToolResult:
    """Return a result that says so, once, if a text of others in it contains markup.

    The text shows it disarmed. The structured content has the exact values, because programs
    compare them.
    """
    content = result.structured_content
    output = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    if not shows_markup(output) and not contains_markup("\n".join(_texts_of_others(content))):
        return result
    blocks = [
        TextContent(type="text", text=f"{block.text}\n{MARKUP_NOTE}")
        for block in result.content
        if isinstance(block, TextContent)
    ]
    if content is not None and not result.is_error:
        content = {**content, MARKUP_FIELD: True}
    return result.model_copy(update={"content": blocks, "structured_content": content})


def _texts_of_others(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, entry in cast("dict[str, object]", value).items():
            if name not in _OPAQUE_FIELDS:
                yield from _texts_of_others(entry)
    elif isinstance(value, list):
        for entry in cast("list[object]", value):
            yield from _texts_of_others(entry)


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
