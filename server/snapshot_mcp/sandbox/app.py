"""The embedded cloud as an ASGI application: routes, authentication and error responses."""

import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from snapshot_mcp.sandbox import store
from snapshot_mcp.sandbox.errors import ApiError, bad_request_error, error_body
from snapshot_mcp.sandbox.handlers.context import HandlerContext
from snapshot_mcp.sandbox.request import MAX_BODY_BYTES, ApiRequest
from snapshot_mcp.sandbox.routes import ROUTES, Handler, is_write
from snapshot_mcp.sandbox.seed import seed_database

if TYPE_CHECKING:
    from snapshot_mcp.sandbox.misbehaving_cloud import MisbehavingCloud

_log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_DOCUMENT_PATH = "/v1/openapi.json"


def create_app(
    *,
    database: Path,
    api_key: str,
    now: Callable[[], datetime],
    misbehaving: "MisbehavingCloud | None" = None,
) -> Starlette:
    """Return the embedded cloud as an ASGI application that serves `/v1`.

    The database is created and seeded by the first request, not by this function.

    Args:
        database: the SQLite file.
        api_key: the required value of the header `api_key`.
        now: returns the current time, aware and in UTC.
        misbehaving: executes all calls, to rehearse failures.
    """

    def endpoint(handler: Handler, method: str) -> Endpoint:
        return _endpoint(handler, database, now, misbehaving, write=is_write(method, handler))

    routes = [
        _route(method, f"/v1{path}", endpoint(handler, method)) for method, path, handler in ROUTES
    ]
    app = Starlette(
        routes=[*routes, _route("GET", _DOCUMENT_PATH, openapi_document)],
        middleware=[Middleware(_ApiKeyMiddleware, api_key=api_key)],
        exception_handlers={ApiError: _api_error_response, HTTPException: _routing_error_response},
    )
    # A path with a trailing slash is unknown, and unknown paths get a JSON response.
    app.router.redirect_slashes = False
    return app


def _route(method: str, path: str, endpoint: Endpoint) -> Route:
    """Return a route that rejects line breaks; Starlette ignores one at the end of a path."""
    route = Route(path, endpoint, methods=[method])
    pattern = route.path_regex.pattern.removesuffix("$") + r"\Z"
    route.path_regex = re.compile(pattern, re.DOTALL)
    return route


async def openapi_document(_request: Request) -> Response:
    """Return this document."""
    from snapshot_mcp.sandbox.openapi.document import document  # noqa: PLC0415 - rarely requested, never at start

    return JSONResponse(document([*ROUTES, ("GET", "/openapi.json", openapi_document)]))


def _endpoint(
    handler: Handler,
    database: Path,
    now: Callable[[], datetime],
    misbehaving: "MisbehavingCloud | None",
    *,
    write: bool,
) -> Endpoint:
    def open_session() -> AbstractContextManager[store.StoreSession]:
        return store.transaction(
            database, write=write, initialize=lambda session: seed_database(session, now())
        )

    def handle(request: ApiRequest) -> Response:
        with open_session() as session:
            result = handler(HandlerContext(session, now()), request)
        return JSONResponse(result.body, result.status)

    async def endpoint(request: Request) -> Response:
        body = await _read_body(request) if request.method in {"POST", "PUT", "PATCH"} else b""
        api_request = ApiRequest(request.path_params, request.query_params, body)
        if misbehaving is not None:
            return await misbehaving.respond(handler, api_request, open_session, write=write)
        # SQLite blocks. A thread also completes its transaction if the caller disconnects.
        return await run_in_threadpool(partial(handle, api_request))

    return endpoint


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise bad_request_error(f"The body has more than {MAX_BODY_BYTES} bytes.")
    return body


class _ApiKeyMiddleware:
    """Middleware that requires the API key, except for the document, and hides tracebacks."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._api_key = api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        presented_key = dict(scope["headers"]).get(b"api_key", b"")
        is_public = scope["path"] == _DOCUMENT_PATH
        if not is_public and not hmac.compare_digest(presented_key, self._api_key):
            response = _error_response(HTTPStatus.UNAUTHORIZED, "The API key is not valid.")
            await response(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            _log.debug("A caller disconnected before its request was read")
        except Exception:  # noqa: BLE001 - any failure becomes a JSON response and a log entry
            # Responses are complete before their first byte is sent, so none has been sent yet.
            _log.exception("The embedded cloud failed to handle a %s request", scope["method"])
            message = "Internal Server Error"
            await _error_response(HTTPStatus.INTERNAL_SERVER_ERROR, message)(scope, receive, send)


def _error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(error_body(status, message), status, headers)


def _api_error_response(_request: Request, exception: Exception) -> Response:
    error = cast("ApiError", exception)
    return JSONResponse(error.body, error.status)


def _routing_error_response(request: Request, exception: Exception) -> Response:
    status = cast("HTTPException", exception).status_code
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_allowed_methods(request))}
        return _error_response(status, f"{request.method} is not allowed here.", headers)
    return _error_response(status, "There is no such call.")


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of every route with this path; Starlette lists those of the first."""
    routes = cast("list[Route]", request.app.routes)
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in route.methods or ()})
