"""An embedded cloud that misbehaves on purpose: the effects of `Misbehaviour` on each call."""

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from random import Random
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snapshot_mcp.core.clock import Clock
from snapshot_mcp.sandbox.entities import Json
from snapshot_mcp.sandbox.errors import ApiError, error_body
from snapshot_mcp.sandbox.handlers.context import HandlerContext, HandlerResult
from snapshot_mcp.sandbox.history import OpenSession, StateHistory
from snapshot_mcp.sandbox.misbehaviour import Misbehaviour
from snapshot_mcp.sandbox.request import ApiRequest, PageRequest

# Source: the vendor's OpenAPI document.
BASE_FIELDS = (
    "id",
    "name",
    "description",
    "vm_id",
    "region_id",
    "status",
    "is_image",
    "size",
    "has_floating_ip",
    "labels",
    "created_at",
    "updated_at",
)
Handler = Callable[[HandlerContext, ApiRequest], HandlerResult]
_PAGEABLE = frozenset({"list_snapshots", "list_vms"})
_PAGE_PARAMETERS = frozenset({"page", "pageSize"})


@dataclass(frozen=True)
class _Call:
    """One call of the API."""

    handler: Handler
    request: ApiRequest
    open_session: OpenSession

    @property
    def is_list(self) -> bool:
        """Whether it lists objects or checks a name, which the cloud looks up in a list."""
        name = self.handler.__name__
        return name.startswith("list_") or name.endswith("name_availability")

    @property
    def is_paged(self) -> bool:
        """Whether it requests a page of a list of snapshots or VMs."""
        is_pageable = self.handler.__name__ in _PAGEABLE
        return is_pageable and not _PAGE_PARAMETERS.isdisjoint(self.request.query)


class MisbehavingCloud:
    """Executes calls with the options' effects.

    Args:
        options: the misbehaviour.
        clock: the time of the cloud; its `sleep` delays slow writes.
        random: source of random choices; by default seeded by the options.
    """

    def __init__(self, options: Misbehaviour, clock: Clock, random: Random | None = None) -> None:
        self._options = options
        self._clock = clock
        self._random = random or Random(options.seed)  # noqa: S311 - not for cryptography
        self._history = StateHistory(max(options.stale_reads, options.stale_lists))
        self._counts: dict[str, int] = {}
        self._window_start = clock.now()
        self._requests = 0
        self._last_move = (0, 0)
        self._slow_writes: set[asyncio.Task[HandlerResult]] = set()

    async def respond(
        self, handler: Handler, request: ApiRequest, open_session: OpenSession, *, write: bool
    ) -> Response:
        """Execute a call, and return its response.

        Args:
            handler: the function that executes it.
            request: the request.
            open_session: opens a transaction on the database.
            write: whether the call may change something.
        """
        call = _Call(handler, request, open_session)
        if (seconds := self._blocked_seconds()) is not None:
            headers = {"Retry-After": str(seconds)} if self._options.retry_after else None
            status = HTTPStatus.TOO_MANY_REQUESTS
            return JSONResponse(error_body(status, "Too Many Requests"), status, headers)
        if write:
            return await self._respond_to_write(call)
        if self._happens("error-500", self._options.error_500):
            raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
        call = replace(call, request=self._with_page_size(call))
        shift = self._page_shift(call)
        result = await run_in_threadpool(self._read, call, shift)
        return JSONResponse(result.body, result.status)

    def _blocked_seconds(self) -> int | None:
        """Count a request, and return the rest of the window if there were too many."""
        limit = self._options.rate_limit
        if limit is None:
            return None
        passed = (self._clock.now() - self._window_start).total_seconds()
        if not 0 <= passed < limit.seconds:
            self._window_start, self._requests, passed = self._clock.now(), 0, 0.0
        self._requests += 1
        return None if self._requests <= limit.requests else math.ceil(limit.seconds - passed)

    def _happens(self, option: str, frequency: float) -> bool:
        if frequency < 1:
            return frequency > 0 and self._random.random() < frequency
        self._counts[option] = self._counts.get(option, 0) + 1
        return self._counts[option] % int(frequency) == 0

    async def _respond_to_write(self, call: _Call) -> Response:
        if self._options.dropped_labels:
            call = replace(call, request=_without_labels(call.request))
        is_lost = self._happens("lost-replies", self._options.lost_replies)
        if is_lost:
            with suppress(ApiError):
                await self._execute(call)
            return _LostReply()
        result = await self._execute(call)
        return JSONResponse(result.body, result.status)

    async def _execute(self, call: _Call) -> HandlerResult:
        if not self._options.slow_writes:
            return await run_in_threadpool(self._write, call)
        # In a task of its own, which continues if the client hangs up.
        task = asyncio.create_task(self._write_later(call))
        self._slow_writes.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def _write_later(self, call: _Call) -> HandlerResult:
        await self._clock.sleep(self._options.slow_writes)
        return await run_in_threadpool(self._write, call)

    def _forget(self, task: "asyncio.Task[HandlerResult]") -> None:
        self._slow_writes.discard(task)
        if not task.cancelled():
            task.exception()  # the refusal of a write whose client has hung up is not needed

    def _write(self, call: _Call) -> HandlerResult:
        self._record_state(call)
        with call.open_session() as session:
            result = call.handler(HandlerContext(session, self._clock.now()), call.request)
        self._record_state(call)
        return result

    def _record_state(self, call: _Call) -> None:
        if self._options.stale_reads or self._options.stale_lists:
            self._history.record(call.open_session, self._clock.now())

    def _with_page_size(self, call: _Call) -> ApiRequest:
        rows = self._options.small_pages
        if not rows or not call.is_paged:
            return call.request
        size = str(min(call.request.page().limit, rows))
        return replace(call.request, query={**call.request.query, "pageSize": size})

    def _page_shift(self, call: _Call) -> int:
        """Return by how many rows this page is moved: 1 if an earlier row has disappeared."""
        number = call.request.page().number or 1 if call.is_paged else 1
        if number == 1 or not self._happens("moving-pages", self._options.moving_pages):
            return 0
        shift = self._random.choice((1, -1))
        if self._last_move == (number, shift):  # two equal moves in a row would look like a state
            shift = -shift
        self._last_move = (number, shift)
        return shift

    def _read(self, call: _Call, shift: int) -> HandlerResult:
        if shift:
            page = call.request.page()
            result = self._read_state(call, _without_page(call.request))
            result = replace(result, body=_moved_page(result.body, page, shift))
        else:
            result = self._read_state(call, call.request)
        if self._options.short_lists and "snapshots" in result.body:
            result = replace(result, body=_short_list(result.body))
        return result

    def _read_state(self, call: _Call, request: ApiRequest) -> HandlerResult:
        """Read the present state, or an earlier one."""
        stale_seconds = self._options.stale_reads
        if call.is_list:
            stale_seconds = max(stale_seconds, self._options.stale_lists)
        self._record_state(call)
        now = self._clock.now()
        if not stale_seconds:
            with call.open_session() as session:
                return call.handler(HandlerContext(session, now), request)
        time = now - timedelta(seconds=stale_seconds)
        with self._history.session_at(time) as session:
            return call.handler(HandlerContext(session, time), request)


class _LostReply(Response):
    """A response that ends before its body, so that the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the signature of ASGI
        headers = [(b"content-length", b"1")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})


def break_connections(app: ASGIApp) -> ASGIApp:
    """Return an application that raises ConnectionResetError where a server would disconnect.

    For use without a port: there is no connection to close after an incomplete response.
    """

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        is_complete = False

        async def forward(message: Message) -> None:
            nonlocal is_complete
            is_complete = message["type"] == "http.response.body"
            await send(message)

        await app(scope, receive, forward)
        if not is_complete:
            raise ConnectionResetError("The embedded cloud closed the connection.")

    return run


def _without_labels(request: ApiRequest) -> ApiRequest:
    with suppress(ValueError):  # the handler rejects a body that is not JSON
        body = json.loads(request.body)
        if isinstance(body, dict):
            fields = cast("Json", body)
            kept = {key: value for key, value in fields.items() if key != "labels"}
            return replace(request, body=json.dumps(kept).encode())
    return request


def _without_page(request: ApiRequest) -> ApiRequest:
    query = {key: value for key, value in request.query.items() if key not in _PAGE_PARAMETERS}
    return replace(request, query=query)


def _moved_page(body: Json, page: PageRequest, shift: int) -> Json:
    """Return the requested page of a complete list, as if earlier rows had changed."""
    key = next(key for key, value in body.items() if isinstance(value, list))
    first = page.offset + shift
    return body | {
        "page": page.number,
        "page_size": page.size,
        "count": max(body["count"] - shift, 0),
        key: body[key][first : first + page.limit],
    }


def _short_list(body: Json) -> Json:
    rows = [{field: row[field] for field in BASE_FIELDS} for row in body["snapshots"]]
    return body | {"snapshots": rows}
