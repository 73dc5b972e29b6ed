"""The context of one request: its operations, its caller and how to report to the client."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, principal_components
from mcp.server.context import ServerRequestContext

from snapshot_mcp.core.request_context import (
    CALLER,
    LOCAL_PRINCIPAL,
    Caller,
    ProgressReporter,
    SendResourceUpdated,
)
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, sanitize
from snapshot_mcp.operations import OperationsFactory

RequestContext = ServerRequestContext[OperationsFactory, Any]
"""One request; its lifespan context opens the operations."""

EMBEDDED_NOTE = "This is the embedded cloud: nothing in a real account changes."
"""Part of each answer and question about a change, if the cloud is the embedded one."""


@contextmanager
def on_behalf_of(
    request: RequestContext, notify: SendResourceUpdated | None = None
) -> Generator[None]:
    """Run the body on behalf of the caller of this request.

    Args:
        request: the request.
        notify: receives the URIs of resources that the body changes; None if it only reads.
    """
    principal = principal_of(get_access_token())
    # Requests take turns by client id, so principals with the same client program need their own.
    # A principal can contain spaces, but no line break.
    client_id = f"{principal}\n{client_name(request)}"
    caller = Caller(
        client_id, ProgressReporter(request.session.report_progress), principal=principal
    )
    if notify is not None:
        caller = caller._replace(notify_resource_updated=notify)
    token = CALLER.set(caller)
    try:
        yield
    finally:
        CALLER.reset(token)


def principal_of(token: AccessToken | None) -> str:
    """Return the name of the token's owner in the ledger, or `local` without a token."""
    if token is None:
        return LOCAL_PRINCIPAL
    _, issuer, subject = principal_components(token)
    # The address of an issuer has no fragment, so two principals never share a name.
    return f"{issuer}#{subject}" if issuer else str(subject)


def client_name(request: RequestContext) -> str:
    """Return the name and version that the client gave, or an empty text."""
    params = request.session.client_params
    if params is None:
        return ""
    info = params.client_info
    return sanitize(f"{info.name} {info.version}", MAX_NAME_LENGTH).text
