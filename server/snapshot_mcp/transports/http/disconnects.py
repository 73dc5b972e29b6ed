"""Clients that disconnect: the exceptions that follow are not errors of this server."""

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.request_context import REQUEST_ID

logger = logging.getLogger(__name__)


class DisconnectMiddleware:
    """ASGI middleware that logs one line, without a traceback, if a request fails without a client.

    Args:
        app: the application to wrap.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        disconnected = False

        async def receive_and_record() -> Message:
            nonlocal disconnected
            message = await receive()
            disconnected = disconnected or message["type"] == "http.disconnect"
            return message

        try:
            await self._app(scope, receive_and_record, send)
        except Exception as error:
            if not disconnected:
                raise
            level = logging.DEBUG if isinstance(error, ClientDisconnect) else logging.WARNING
            logger.log(
                level, "request %s: the client disconnected", REQUEST_ID.get(), exc_info=error
            )
