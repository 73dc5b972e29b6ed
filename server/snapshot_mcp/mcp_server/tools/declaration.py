"""Tool declarations: each tool is declared once, and every list of tools is derived from that."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar, get_type_hints

from mcp_types import CallToolRequestParams, Tool, ToolAnnotations
from pydantic import BaseModel

from snapshot_mcp.core.docstrings import read_docstring
from snapshot_mcp.core.uris import PANEL_URI
from snapshot_mcp.mcp_server.context import RequestContext
from snapshot_mcp.mcp_server.elicitation import ClientApprover
from snapshot_mcp.mcp_server.tools.arguments import MAX_SILENT_WAIT_SECONDS, argument_model
from snapshot_mcp.mcp_server.tools.schema import PlainSchema
from snapshot_mcp.models.cloud import FrozenModel
from snapshot_mcp.operations import Operations
from snapshot_mcp.settings.environment import Toolset

Effect = Literal["reads", "adds", "destroys"]
"""Strongest change that a tool can make."""

PanelUse = Literal["none", "shows", "only"]
"""Relation to the panel.

- none: the client shows no panel for the tool.
- shows: the client shows the panel beside a call.
- only: the panel itself calls the tool; the client hides it from the model.
"""

_HINTS: Mapping[Effect, ToolAnnotations] = {
    "reads": ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
    ),
    "adds": ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
    ),
    "destroys": ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
    ),
}
EMBEDDED_FIELD = "embedded_cloud"
"""Field of the structured content that is true if the cloud is the embedded one, else omitted."""

MARKUP_FIELD = "contains_markup"
"""Field of the structured content that is true if a text of others has markup, else omitted."""

_MARKUP_SCHEMA = {"type": "boolean", "description": "Some text in it contains markup"}
_EMBEDDED_SCHEMA = {"type": "boolean", "description": "Nothing in a real account changes"}
_VISIBILITY: Mapping[PanelUse, list[str]] = {"shows": ["model", "app"], "only": ["app"]}

ResultT = TypeVar("ResultT", bound=FrozenModel)


class ToolContext(NamedTuple):
    """One call of a tool.

    Attributes:
        request: the request.
        params: its parameters.
        listed: names of the tools that the server lists.
        embedded: whether the cloud is the embedded one.
        shows_panel: whether clients show the panel for this tool.
    """

    request: RequestContext
    params: CallToolRequestParams
    listed: frozenset[str]
    embedded: bool
    shows_panel: bool

    async def operations(self) -> Operations:
        """Return the operations; the first call of the process opens them."""
        return await self.request.lifespan_context()

    def limit_wait(self, seconds: int) -> int:
        """Return how long this call may wait, of the `seconds` that it requests."""
        meta = self.request.meta or {}
        return seconds if "progress_token" in meta else min(seconds, MAX_SILENT_WAIT_SECONDS)

    @property
    def approver(self) -> ClientApprover:
        """The person behind the client."""
        return self.approver_with(None)

    def approver_with(self, panel_nonce: str | None) -> ClientApprover:
        """Return the person behind the client, with the nonce that the panel presents."""
        return ClientApprover(
            self.request,
            self.params,
            embedded=self.embedded,
            shows_panel=self.shows_panel,
            panel_nonce=panel_nonce,
        )


@dataclass(frozen=True, kw_only=True)
class ToolDeclaration:
    """One tool, with everything that the server, the policy and the documentation need to know.

    Its name, description, arguments and result come from the function.

    Attributes:
        function: takes the context of the call, and the arguments by keyword.
        description: text for the model, from the docstring of the function.
        title: title for people.
        toolset: the toolset that the tool belongs to; None for the tools of the panel.
        effect: the strongest change that it can make.
        render: writes a result as text for the model.
        plans: whether a call without a plan token returns a plan and changes nothing.
        panel: its relation to the panel.
    """

    function: Callable[..., Awaitable[FrozenModel]]
    description: str
    title: str
    toolset: Toolset | None
    effect: Effect
    render: Callable[[Any], str]
    plans: bool
    panel: PanelUse

    @property
    def name(self) -> str:
        """Name of the tool."""
        return self.function.__name__

    @property
    def is_about_a_change(self) -> bool:
        """Whether it changes something or plans to, so that it must name the embedded cloud."""
        return self.plans or self.effect != "reads"

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """Model of the arguments; a process builds it once, because that is slow."""
        return argument_model(self.function)

    @cached_property
    def definition(self) -> Tool:
        """The definition that clients see; a process builds it once, because that is slow."""
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.arguments.model_json_schema(schema_generator=PlainSchema),
            output_schema=self._output_schema(),
            annotations=_HINTS[self.effect],
            _meta=self._meta(),
        )

    def _output_schema(self) -> dict[str, Any] | None:
        if self.panel == "only":
            return None  # the panel knows its results, and each start would pay for the schema
        result: type[BaseModel] = get_type_hints(self.function)["return"]
        schema = result.model_json_schema(schema_generator=PlainSchema, mode="serialization")
        schema["properties"] |= {MARKUP_FIELD: _MARKUP_SCHEMA}
        if self.is_about_a_change:
            schema["properties"] |= {EMBEDDED_FIELD: _EMBEDDED_SCHEMA}
        return schema

    def _meta(self) -> dict[str, Any] | None:
        if self.panel == "none":
            return None
        return {"ui": {"resourceUri": PANEL_URI, "visibility": _VISIBILITY[self.panel]}}


def declare_tool(
    *,
    title: str,
    toolset: Toolset | None,
    effect: Effect,
    render: Callable[[ResultT], str],
    plans: bool = False,
    panel: PanelUse = "none",
) -> Callable[[Callable[..., Awaitable[ResultT]]], ToolDeclaration]:
    """Return a decorator that declares a function as a tool; see `ToolDeclaration`."""

    def declare(function: Callable[..., Awaitable[ResultT]]) -> ToolDeclaration:
        return ToolDeclaration(
            function=function,
            description=" ".join(read_docstring(function).split()),
            title=title,
            toolset=toolset,
            effect=effect,
            render=render,
            plans=plans,
            panel=panel,
        )

    return declare
