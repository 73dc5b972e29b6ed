"""The same rules inside the server: a tool beyond the caller's scopes is not listed and not run.

The guard before it answers 403. This holds whatever came past it.
"""

from typing import Any, cast

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from snapshot_mcp.service.scopes import is_listed, scopes_needed


class Scoped(ServerMiddleware[Any]):
    """Lets each caller see and do what their token allows."""

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
        if missing := scopes_needed(ctx.method, ctx.params) - held:
            needed = " ".join(sorted(missing))
            raise MCPError(INVALID_REQUEST, f"This needs the scope {needed}. Nothing was sent.")
        result = await call_next(ctx)
        return _without_others(result, held) if ctx.method == "tools/list" else result


def _without_others(result: HandlerResult, held: set[str]) -> HandlerResult:
    if not isinstance(result, dict):  # the SDK makes one of every answer before it comes here
        raise TypeError("a list of tools is a dict")
    tools = cast("list[dict[str, Any]]", result["tools"])
    return {**result, "tools": [it for it in tools if is_listed(it["name"], held)]}
