"""Completions: suggestions while a person types an argument of a prompt, or the id in a URI.

They come from the live cloud with one request. If it fails or takes too long, the suggestions are
empty: an error would only interrupt the person.
"""

from collections.abc import Collection, Mapping

import anyio
from mcp_types import (
    CompleteRequestParams,
    CompleteResult,
    Completion,
    PromptReference,
    ResourceTemplateReference,
)

from snapshot_mcp.core.errors import SnapshotMcpError
from snapshot_mcp.core.uris import SNAPSHOT_URI_TEMPLATE, VM_SNAPSHOTS_URI_TEMPLATE
from snapshot_mcp.mcp_server.context import RequestContext, on_behalf_of
from snapshot_mcp.mcp_server.prompt_files import PromptFile
from snapshot_mcp.operations.requests import SuggestionKind

COMPLETION_TIMEOUT_SECONDS = 3.0
"""A later answer is useless, because the person has typed more by then."""

_KIND_BY_URI_TEMPLATE: Mapping[str, SuggestionKind] = {
    SNAPSHOT_URI_TEMPLATE: "snapshot_id",
    VM_SNAPSHOTS_URI_TEMPLATE: "vm_id",
}
_TOOL_BY_KIND: Mapping[SuggestionKind, str] = {
    "snapshot_id": "list_snapshots",
    "snapshot_name": "list_snapshots",
    "vm_id": "list_virtual_machines",
    "vm_name": "list_virtual_machines",
}
"""The tool that shows the same names and ids, without which there are no suggestions."""

_NO_SUGGESTIONS = CompleteResult(completion=Completion(values=[], total=0, has_more=False))


class CompletionHandler:
    """Handles completion/complete.

    Args:
        prompts: the prompts that the server lists.
        templates: the URI templates that the server lists.
        listed: names of the tools that the server lists.
    """

    def __init__(
        self, prompts: Collection[PromptFile], templates: Collection[str], listed: Collection[str]
    ) -> None:
        self._listed = listed
        self._prompts = {prompt.name: prompt.completes for prompt in prompts}
        self._templates = templates

    async def complete(
        self, request: RequestContext, params: CompleteRequestParams
    ) -> CompleteResult:
        """Handle completion/complete."""
        kind = self._kind(params)
        if kind is None or _TOOL_BY_KIND[kind] not in self._listed:
            return _NO_SUGGESTIONS
        with on_behalf_of(request):
            return await _suggestions(request, kind, params.argument.value)

    def _kind(self, params: CompleteRequestParams) -> SuggestionKind | None:
        match params.ref:
            case PromptReference(name=name):
                return self._prompts.get(name, {}).get(params.argument.name)
            case ResourceTemplateReference(uri=uri):
                known = uri in self._templates and params.argument.name == "id"
                return _KIND_BY_URI_TEMPLATE.get(uri) if known else None


async def _suggestions(request: RequestContext, kind: SuggestionKind, text: str) -> CompleteResult:
    try:
        operations = await request.lifespan_context()
        with anyio.move_on_after(COMPLETION_TIMEOUT_SECONDS):
            found = await operations.queries.suggestions(kind, text)
            return CompleteResult(
                completion=Completion(
                    values=found.values, total=found.total, has_more=found.has_more
                )
            )
    except SnapshotMcpError:
        pass  # the next call of a tool reports the error
    return _NO_SUGGESTIONS
