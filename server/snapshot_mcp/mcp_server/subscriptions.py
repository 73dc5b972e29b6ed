"""Subscriptions: notifications about changed resources, in both protocol eras.

The SDK serves `subscriptions/listen` (2026-07-28) from its bus. This bus also notifies the
connections of clients that called `resources/subscribe`, as older clients do.
"""

import logging
import re
from collections.abc import Collection

import anyio
from mcp.server.connection import Connection
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourceUpdated,
    ServerEvent,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from snapshot_mcp.core.errors import NOTHING_CHANGED
from snapshot_mcp.core.uris import POLICY_URI
from snapshot_mcp.mcp_server.context import RequestContext

MAX_SUBSCRIPTIONS = 1_000
"""Subscriptions of one connection, so that a client cannot fill the memory."""

NOTIFY_TIMEOUT_SECONDS = 1.0
"""Maximum delay that a client can cause by not reading."""

_ID_PATTERN = "[1-9][0-9]{0,18}"

logger = logging.getLogger(__name__)


class Subscriptions(InMemorySubscriptionBus):
    """All subscribers of one server, of both protocol eras.

    Args:
        templates: the URI templates that the server lists. Only their resources, and the policy,
            can be subscribed to.
    """

    def __init__(self, templates: Collection[str]) -> None:
        super().__init__()
        self._templates = templates
        uris = (template.replace("{id}", _ID_PATTERN) for template in templates)
        self._subscribable = re.compile("|".join([re.escape(POLICY_URI), *uris]))
        self._listen = ListenHandler(self)
        self._legacy: dict[Connection, set[str]] = {}

    async def notify_resource_updated(self, uri: str) -> None:
        """Notify the subscribers of this URI."""
        await self.publish(ResourceUpdated(uri=uri))

    async def publish(self, event: ServerEvent) -> None:
        """Notify the subscribers of this event; one that cannot be notified is skipped."""
        await super().publish(event)
        if not isinstance(event, ResourceUpdated):
            return
        for connection, uris in list(self._legacy.items()):
            if event.uri in uris:
                await _notify(connection, event.uri)

    async def listen(
        self, request: RequestContext, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Handle subscriptions/listen. What the server never sends is not acknowledged."""
        requested = params.notifications.resource_subscriptions or ()
        uris = [uri for uri in requested if self._subscribable.fullmatch(uri)]
        honored = SubscriptionFilter(resource_subscriptions=uris[:MAX_SUBSCRIPTIONS])
        return await self._listen(request, params.model_copy(update={"notifications": honored}))

    async def subscribe_connection(
        self, request: RequestContext, params: SubscribeRequestParams
    ) -> EmptyResult:
        """Handle resources/subscribe.

        Raises:
            MCPError: the URI cannot be subscribed to, or there are too many subscriptions.
        """
        if not self._subscribable.fullmatch(params.uri):
            offered = ", ".join([POLICY_URI, *self._templates])
            raise MCPError(
                INVALID_PARAMS, f"Only these can be subscribed to: {offered}. {NOTHING_CHANGED}"
            )
        connection = _connection_of(request)
        if connection not in self._legacy:
            self._legacy[connection] = set()
            connection.exit_stack.callback(self._legacy.pop, connection, None)
        uris = self._legacy[connection]
        if params.uri not in uris and len(uris) >= MAX_SUBSCRIPTIONS:
            raise MCPError(
                INVALID_PARAMS,
                f"A client can subscribe to {MAX_SUBSCRIPTIONS} addresses. Unsubscribe from some"
                " and try again.",
            )
        uris.add(params.uri)
        return EmptyResult()

    async def unsubscribe_connection(
        self, request: RequestContext, params: UnsubscribeRequestParams
    ) -> EmptyResult:
        """Handle resources/unsubscribe, also for a URI without a subscription."""
        self._legacy.get(_connection_of(request), set()).discard(params.uri)
        return EmptyResult()


def _connection_of(request: RequestContext) -> Connection:
    # A session belongs to one request. The connection lasts as long as the client, and the SDK
    # has no public attribute for it.
    return request.session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _notify(connection: Connection, uri: str) -> None:
    try:
        with anyio.move_on_after(NOTIFY_TIMEOUT_SECONDS):
            await connection.send_resource_updated(uri)
    except Exception as error:  # noqa: BLE001 - a failed notification must not undo the change
        logger.info("a subscriber could not be notified: %s", type(error).__name__)
