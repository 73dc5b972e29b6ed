"""The embedded cloud's REST API: which call leads to which action, and what guards them all."""

import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from snapshot_mcp.sandbox import handlers as actions
from snapshot_mcp.sandbox import store
from snapshot_mcp.sandbox.errors import RefusalError, bad_request, error_body
from snapshot_mcp.sandbox.handlers import HandlerContext, HandlerResult
from snapshot_mcp.sandbox.request import MAX_BODY_BYTES, ApiRequest
from snapshot_mcp.sandbox.seed import seed

_log = logging.getLogger(__name__)

Action = Callable[[HandlerContext, ApiRequest], HandlerResult]
Endpoint = Callable[[Request], Awaitable[Response]]

# Source: the vendor's OpenAPI document. The name comes before the ids, which would swallow it.
_CALLS: tuple[tuple[str, str, Action], ...] = (
    ("GET", "/core/snapshots", actions.list_snapshots),
    ("GET", "/core/snapshots/name-availability/{name:path}", actions.name_availability),
    ("GET", "/core/snapshots/{id}", actions.get_snapshot),
    ("DELETE", "/core/snapshots/{id}", actions.delete_snapshot),
    ("GET", "/core/snapshots/{id}/events", actions.snapshot_events),
    ("POST", "/core/snapshots/{id}/restore", actions.restore_snapshot),
    ("POST", "/core/snapshots/{id}/image", actions.create_image),
    ("GET", "/core/virtual-machines", actions.list_vms),
    ("GET", "/core/virtual-machines/{id}", actions.get_vm),
    ("DELETE", "/core/virtual-machines/{id}", actions.delete_vm),
    ("GET", "/core/virtual-machines/{id}/events", actions.vm_events),
    ("POST", "/core/virtual-machines/{id}/snapshots", actions.create_snapshot),
    ("GET", "/core/regions", actions.list_regions),
    ("GET", "/core/environments", actions.list_environments),
    ("GET", "/core/images", actions.list_images),
    ("GET", "/pricebook", actions.pricebook),
)
_DOCUMENT = "/v1/openapi.json"


def create_app(*, database: Path, api_key: str, now: Callable[[], datetime]) -> Starlette:
    """The embedded cloud as an ASGI application, with its calls under `/v1`.

    Nothing is touched before the first request, which makes and fills the database.

    Args:
        database: the SQLite file.
        api_key: what the header `api_key` must hold.
        now: tells the time, aware and in UTC.
    """
    routes = [
        _route(method, f"/v1{path}", _endpoint(action, database, now, write=method != "GET"))
        for method, path, action in _CALLS
    ]
    app = Starlette(
        routes=[*routes, _route("GET", _DOCUMENT, openapi_document)],
        middleware=[Middleware(_Guard, api_key=api_key)],
        exception_handlers={RefusalError: _refused, HTTPException: _unrouted},
    )
    # A call with a slash too many is unknown, and unknown calls answer JSON.
    app.router.redirect_slashes = False
    return app


def _route(method: str, path: str, endpoint: Endpoint) -> Route:
    """A route that sees every line break in a path; Starlette overlooks one at its end."""
    route = Route(path, endpoint, methods=[method])
    pattern = route.path_regex.pattern.removesuffix("$") + r"\Z"
    route.path_regex = re.compile(pattern, re.DOTALL)
    return route


async def openapi_document(_request: Request) -> Response:
    """This document."""
    from snapshot_mcp.sandbox.openapi.document import document  # noqa: PLC0415 - few ask for it, none at start

    return JSONResponse(document([*_CALLS, ("GET", "/openapi.json", openapi_document)]))


def _endpoint(
    action: Action, database: Path, now: Callable[[], datetime], *, write: bool
) -> Endpoint:
    def act(ask: ApiRequest) -> Response:
        with store.transaction(
            database, write=write, first=lambda new: seed(new, now())
        ) as session:
            reply = action(HandlerContext(session, now()), ask)
        return JSONResponse(reply.body, reply.status)

    async def endpoint(request: Request) -> Response:
        body = await _body(request) if request.method == "POST" else b""
        ask = ApiRequest(request.path_params, request.query_params, body)
        # SQLite blocks. A caller who leaves does not cut the work short: it is done or it is not.
        return await run_in_threadpool(partial(act, ask))

    return endpoint


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise bad_request(f"The body has more than {MAX_BODY_BYTES} bytes.")
    return body


class _Guard:
    """Lets nobody but readers of the document in without the key, and no traceback out."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._api_key = api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"api_key", b"")
        if scope["path"] != _DOCUMENT and not hmac.compare_digest(given, self._api_key):
            await _failure(HTTPStatus.UNAUTHORIZED, "The API key is not valid.")(
                scope, receive, send
            )
            return
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            _log.debug("A caller left before the request was read")
        except Exception:  # noqa: BLE001 - whatever it was, the caller gets JSON and the log gets it all
            # Every reply is whole before its first byte is sent, so this one is the first.
            _log.exception("The embedded cloud failed at a %s", scope["method"])
            message = "Internal Server Error"
            await _failure(HTTPStatus.INTERNAL_SERVER_ERROR, message)(scope, receive, send)


def _failure(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(error_body(status, message), status, headers)


def _refused(_request: Request, error: Exception) -> Response:
    refusal = cast("RefusalError", error)
    return JSONResponse(refusal.body, refusal.status)


def _unrouted(request: Request, error: Exception) -> Response:
    status = cast("HTTPException", error).status_code
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_methods_at(request))}
        return _failure(status, f"{request.method} is not allowed here.", headers)
    return _failure(status, "There is no such call.")


def _methods_at(request: Request) -> list[str]:
    """The methods of every route with the path; Starlette would tell those of the first."""
    routes = cast("list[Route]", request.app.routes)
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in route.methods or ()})
