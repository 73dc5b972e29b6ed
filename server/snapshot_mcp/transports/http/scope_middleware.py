"""The same rules inside the server: a tool beyond the caller's scopes is not listed and not run.

The guard before it answers 403. This holds whatever came past it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from snapshot_mcp.transports.http.scopes import is_listed, required_scopes


class ToolScopeMiddleware(ServerMiddleware[Any]):
    """Lets each caller see and do what their token allows.

    Args:
        prompts: the tools that each prompt names; it is listed with all of them.
    """

    def __init__(self, prompts: Mapping[str, Collection[str]]) -> None:
        self._prompts = prompts

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Answer one request; a notification does nothing that needs a scope.

        Raises:
            MCPError: the token does not allow it, or there is none; nothing was sent.
        """
        access = get_access_token()
        if ctx.request_id is None:
            return await call_next(ctx)
        if access is None:
            raise MCPError(INVALID_REQUEST, "Nobody is known to ask this. Nothing was sent.")
        held = set(access.scopes)
        if missing := required_scopes(ctx.method, ctx.params) - held:
            needed = " ".join(sorted(missing))
            raise MCPError(INVALID_REQUEST, f"This needs the scope {needed}. Nothing was sent.")
        result = await call_next(ctx)
        match ctx.method, result:
            case "tools/list", {"tools": tools}:
                return {**result, "tools": [it for it in tools if is_listed(it["name"], held)]}
            case "prompts/list", {"prompts": prompts}:
                return {**result, "prompts": [it for it in prompts if self._offers(it, held)]}
            case _:
                return result

    def _offers(self, prompt: Mapping[str, Any], held: Collection[str]) -> bool:
        return all(is_listed(tool, held) for tool in self._prompts[prompt["name"]])
