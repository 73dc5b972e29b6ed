"""One call of a client, as what works for it knows it: who it is for, and how to reach them."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, principal_components
from mcp.server.mcpserver.context import Context

from snapshot_mcp.core.request_context import CALLER, LOCAL_PRINCIPAL, Caller, ProgressReporter
from snapshot_mcp.mcp_server.elicitation import ClientApprover


@contextmanager
def on_behalf_of(context: Context[Any, Any]) -> Generator[None]:
    """Everything within is done for the client of this call."""
    principal = principal_of(get_access_token())
    # Two people with the same client are two, and take turns.
    client = f"{principal} {ClientApprover(context).client}"
    news = ProgressReporter(context.report_progress)
    token = CALLER.set(Caller(client, news, context.notify_resource_updated, principal))
    try:
        yield
    finally:
        CALLER.reset(token)


def principal_of(token: AccessToken | None) -> str:
    """Who presented this token, as the ledger names them; `local` where nobody is asked."""
    if token is None:
        return LOCAL_PRINCIPAL
    _, issuer, subject = principal_components(token)
    # An issuer's address has no fragment, so no two principals share a name.
    return f"{issuer}#{subject}" if issuer else str(subject)
