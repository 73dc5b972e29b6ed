"""Who hears of changes: listeners of 2026-07-28, and those who subscribed as before.

The SDK serves `subscriptions/listen` from its bus. The older `resources/subscribe` is served here,
by a bus that also tells those connections.
"""

import logging
import re
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from snapshot_mcp.core.uris import POLICY_URI
from snapshot_mcp.operations import OperationsFactory

MAX_SUBSCRIPTIONS = 1_000
"""Of one connection; so a client cannot fill the memory."""

NOTIFY_TIMEOUT_SECONDS = 1.0
"""A client that does not read holds nobody up for longer."""

_ADDRESS = re.compile(
    rf"{re.escape(POLICY_URI)}|snapshot://[1-9][0-9]{{0,18}}|vm://[1-9][0-9]{{0,18}}/snapshots"
)

logger = logging.getLogger(__name__)
RequestContext = ServerRequestContext[OperationsFactory, Any]


class Subscriptions(InMemorySubscriptionBus):
    """Everybody who listens, in either way."""

    def __init__(self) -> None:
        super().__init__()
        self._older: dict[Connection, set[str]] = {}

    async def publish(self, event: ServerEvent) -> None:
        """Tell those who asked for it; whoever cannot be told is left out."""
        await super().publish(event)
        if not isinstance(event, ResourceUpdated):
            return
        for connection, addresses in list(self._older.items()):
            if event.uri in addresses:
                await _notify(connection, event.uri)

    async def subscribe_connection(
        self, context: RequestContext, params: SubscribeRequestParams
    ) -> EmptyResult:
        """Serve resources/subscribe.

        Raises:
            MCPError: there is no such address, or there are too many.
        """
        if not _ADDRESS.fullmatch(params.uri):
            raise MCPError(
                INVALID_PARAMS,
                "Only snapshot://policy, snapshot://{id} and vm://{id}/snapshots can be subscribed"
                " to. Nothing was changed.",
            )
        connection = _connection_of(context)
        if connection not in self._older:
            self._older[connection] = set()
            connection.exit_stack.callback(self._older.pop, connection, None)
        addresses = self._older[connection]
        if params.uri not in addresses and len(addresses) >= MAX_SUBSCRIPTIONS:
            raise MCPError(
                INVALID_PARAMS,
                f"A client can subscribe to {MAX_SUBSCRIPTIONS} addresses. Unsubscribe from some.",
            )
        addresses.add(params.uri)
        return EmptyResult()

    async def unsubscribe_connection(
        self, context: RequestContext, params: UnsubscribeRequestParams
    ) -> EmptyResult:
        """Serve resources/unsubscribe; from what was never subscribed to, too."""
        self._older.get(_connection_of(context), set()).discard(params.uri)
        return EmptyResult()


def serve_subscriptions(server: MCPServer[OperationsFactory], subscriptions: Subscriptions) -> None:
    """Answer resources/subscribe and resources/unsubscribe, which the SDK's server does not."""
    # Source: the SDK's migration guide, which names this attribute until there is a public way.
    lowlevel = server._lowlevel_server  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    lowlevel.add_request_handler(
        "resources/subscribe", SubscribeRequestParams, subscriptions.subscribe_connection
    )
    lowlevel.add_request_handler(
        "resources/unsubscribe", UnsubscribeRequestParams, subscriptions.unsubscribe_connection
    )


def _connection_of(context: RequestContext) -> Connection:
    # Each request has a session of its own; what lasts as long as the client is the connection.
    return context.session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _notify(connection: Connection, address: str) -> None:
    try:
        with anyio.move_on_after(NOTIFY_TIMEOUT_SECONDS):
            await connection.send_resource_updated(address)
    except Exception as error:  # noqa: BLE001 - what was done stays done, whoever hears of it
        logger.info("a subscriber could not be told: %s", type(error).__name__)
