"""How much one principal may ask, and which request a line of the log is about."""

import re
import secrets
from typing import cast

from cachetools import LRUCache
from pyrate_limiter import InMemoryBucket, Rate, RateItem
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.request_context import REQUEST_ID

MAX_REQUEST_BYTES = 1024 * 1024
"""Bytes of a request; the largest that a client has reason to send is a hundredth of it."""

REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MINUTE_MILLISECONDS = 60_000
_MAX_PRINCIPALS = 10_000


class Quotas:
    """Requests of each principal in any sixty seconds.

    Args:
        a_minute: how many.
        clock: the time.
    """

    def __init__(self, a_minute: int, clock: Clock) -> None:
        self._rate = Rate(a_minute, _MINUTE_MILLISECONDS)
        self._clock = clock
        self._buckets: LRUCache[str, InMemoryBucket] = LRUCache(_MAX_PRINCIPALS)

    def seconds_until_permitted(self, principal: str) -> float:
        """Count one request of `principal`; 0, or the seconds after which one more may come."""
        bucket = self._buckets.get(principal)
        if bucket is None:
            bucket = self._buckets[principal] = InMemoryBucket([self._rate])
        now = int(self._clock.monotonic() * 1_000)
        bucket.leak(now)
        item = RateItem("request", now)
        if bucket.put(item):
            return 0
        return cast("int", bucket.waiting(item)) / 1_000  # other kinds of buckets answer later


class RequestIdMiddleware:
    """Gives each request an id: the one that a proxy gave it, or one of its own.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its answer and its lines in the log have the id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        name = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = name
            await send(message)

        token = REQUEST_ID.set(name)
        try:
            await self._app(scope, receive, send_named)
        finally:
            REQUEST_ID.reset(token)
