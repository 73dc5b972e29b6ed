"""Handlers of prompts/list and prompts/get."""

from collections.abc import Sequence

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from snapshot_mcp.core.markup import MARKUP_NOTE, shows_markup, watching_for_markup
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quote_unless_word, sanitize
from snapshot_mcp.mcp_server.context import RequestContext
from snapshot_mcp.mcp_server.prompt_files import PromptArgumentError, PromptFile


class PromptHandlers:
    """Lists and renders the prompts of one server.

    Args:
        prompts: the prompts, in the order in which they are listed.
    """

    def __init__(self, prompts: Sequence[PromptFile]) -> None:
        self._prompts = {prompt.name: prompt for prompt in prompts}

    async def list_prompts(
        self, _request: RequestContext, _params: PaginatedRequestParams | None
    ) -> ListPromptsResult:
        """Handle prompts/list."""
        return ListPromptsResult(prompts=[_definition(prompt) for prompt in self._prompts.values()])

    async def get_prompt(
        self, _request: RequestContext, params: GetPromptRequestParams
    ) -> GetPromptResult:
        """Handle prompts/get.

        Raises:
            MCPError: there is no such prompt, or an argument is missing or unknown.
        """
        prompt = self._prompts.get(params.name)
        if prompt is None:
            name = quote_unless_word(sanitize(params.name, MAX_NAME_LENGTH).text)
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {name}")
        try:
            with watching_for_markup():
                text = prompt.render(params.arguments or {})
                text += f"{MARKUP_NOTE}\n" if shows_markup(text) else ""
        except PromptArgumentError as error:
            raise MCPError(INVALID_PARAMS, str(error)) from error
        message = PromptMessage(role="user", content=TextContent(type="text", text=text))
        return GetPromptResult(description=prompt.description, messages=[message])


def _definition(prompt: PromptFile) -> Prompt:
    return Prompt(
        name=prompt.name,
        title=prompt.title,
        description=prompt.description,
        arguments=[
            PromptArgument(
                name=argument.name,
                description=argument.description,
                required=argument.default is None,
            )
            for argument in prompt.arguments
        ],
    )
