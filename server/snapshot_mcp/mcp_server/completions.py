"""What is offered to a person who types an argument of a prompt, or the id in an address.

It comes from the live cloud with one call, and soon, or it is empty: a person who types must never
be disturbed by an error.
"""

from collections.abc import Collection, Mapping
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.context import Context
from mcp_types import (
    CompleteRequestParams,
    CompleteResult,
    Completion,
    PromptReference,
    ResourceTemplateReference,
)

from snapshot_mcp.core.errors import SnapshotMcpError
from snapshot_mcp.core.uris import SNAPSHOT_URI_TEMPLATE, VM_SNAPSHOTS_URI_TEMPLATE
from snapshot_mcp.mcp_server.context import on_behalf_of
from snapshot_mcp.mcp_server.prompts import FilePrompt
from snapshot_mcp.operations import OperationsFactory
from snapshot_mcp.operations.requests import SuggestionKind

COMPLETION_TIMEOUT_SECONDS = 3.0
"""A person has typed on by then."""

_OF_ADDRESSES: Mapping[str, SuggestionKind] = {
    SNAPSHOT_URI_TEMPLATE: "snapshot_id",
    VM_SNAPSHOTS_URI_TEMPLATE: "vm_id",
}
_NOTHING = CompleteResult(completion=Completion(values=[], total=0, has_more=False))

RequestContext = ServerRequestContext[OperationsFactory, Any]


def serve_completions(
    server: MCPServer[OperationsFactory],
    prompts: Collection[FilePrompt],
    addresses: Collection[str],
) -> None:
    """Answer completion/complete.

    Args:
        server: the server that answers.
        prompts: those that it offers.
        addresses: the templates that it offers.
    """
    of_prompts = {prompt.name: prompt.completes for prompt in prompts}

    def wanted(params: CompleteRequestParams) -> SuggestionKind | None:
        match params.ref:
            case PromptReference(name=name):
                return of_prompts.get(name, {}).get(params.argument.name)
            case ResourceTemplateReference(uri=uri):
                known = uri in addresses and params.argument.name == "id"
                return _OF_ADDRESSES.get(uri) if known else None

    async def complete(context: RequestContext, params: CompleteRequestParams) -> CompleteResult:
        kind = wanted(params)
        if kind is None:
            return _NOTHING
        with on_behalf_of(Context(request_context=context, mcp_server=server)):
            return await _completed(context, kind, params.argument.value)

    # The SDK's own decorator keeps the context, and so the connection to the cloud, to itself.
    lowlevel = server._lowlevel_server  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    lowlevel.add_request_handler("completion/complete", CompleteRequestParams, complete)


async def _completed(context: RequestContext, kind: SuggestionKind, typed: str) -> CompleteResult:
    try:
        operations = await context.lifespan_context()
        with anyio.move_on_after(COMPLETION_TIMEOUT_SECONDS):
            found = await operations.queries.suggestions(kind, typed)
            return CompleteResult(
                completion=Completion(
                    values=found.values, total=found.total, has_more=found.has_more
                )
            )
    except SnapshotMcpError:
        pass  # the next call of a tool tells what is wrong
    return _NOTHING
