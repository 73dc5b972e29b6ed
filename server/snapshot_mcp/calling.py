"""One call of a client, as what works for it knows it: who it is for, and how to reach them."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver.context import Context

from snapshot_mcp.caller import CALLER, Caller, News
from snapshot_mcp.consent.asking import ClientPerson


@contextmanager
def on_behalf_of(context: Context[Any, Any]) -> Generator[None]:
    """Everything within is done for the client of this call."""
    client = ClientPerson(context).client
    news = News(context.report_progress)
    token = CALLER.set(Caller(client, news, context.notify_resource_updated))
    try:
        yield
    finally:
        CALLER.reset(token)
