"""The cloud that all servers of a run use: it generates its answers and records the requests.

The path selects the account: `/SNAPSHOTS/DELAY/v1` has SNAPSHOTS snapshots and answers after DELAY
milliseconds. `/requests` returns the requests since the previous call of `/requests`.

Usage: `python -m bench.upstream PORT`
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

import anyio
import uvicorn
from starlette.types import Receive, Scope, Send

from bench import fixtures

MAX_PAGE_SIZE = 100
MAX_CACHED_PAGES = 1_200
MAX_RECORDED_REQUESTS = 10_000
HTTP_OK = 200
HTTP_NOT_FOUND = 404
KEEP_ALIVE_TIMEOUT_SECONDS = 3_600
_NOT_FOUND_BODY = b'{"status":false,"message":"not found","error_reason":"not_found"}'


class PageQuery(NamedTuple):
    """The requested page of a list: its number (from 1), its size, and a part of the names."""

    page: int
    size: int
    search: str

    @property
    def indexes(self) -> range:
        """The indexes of the items on the page."""
        return range((self.page - 1) * self.size, self.page * self.size)


class Upstream:
    """The ASGI application."""

    def __init__(self) -> None:
        self._paths: deque[str] = deque(maxlen=MAX_RECORDED_REQUESTS)
        self._connections: set[tuple[str, int]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive
        if scope["path"] == "/requests":
            await _answer(send, HTTP_OK, self._take_requests())
            return
        query: str = scope["query_string"].decode()
        self._paths.append(f"{scope['path']}?{query}" if query else scope["path"])
        self._connections.add(scope["client"])
        _, count, delay, _, *path = scope["path"].split("/")
        if delay != "0":
            await anyio.sleep(int(delay) / 1_000)
        body = _body(tuple(path), int(count), query)
        await _answer(send, HTTP_OK if body else HTTP_NOT_FOUND, body or _NOT_FOUND_BODY)

    def _take_requests(self) -> bytes:
        # A pool opens a connection only if all others are in use: their number is the concurrency.
        recorded = {"paths": list(self._paths), "connections": len(self._connections)}
        self._paths.clear()
        self._connections.clear()
        return json.dumps(recorded).encode()


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@lru_cache(maxsize=MAX_CACHED_PAGES)
def _body(path: tuple[str, ...], count: int, query: str) -> bytes:
    match path:
        case ("core", "snapshots"):
            return _list("snapshots", count, query, fixtures.snapshot_name, fixtures.snapshot_json)
        case ("core", "virtual-machines"):
            return _list("instances", count, query, _vm_name, _vm)
        case ("core", "snapshots", number):
            index = count - 1 - (int(number) - fixtures.snapshot_id(count - 1, count))
            found = 0 <= index < count
            return (
                _single(b"200", b"snapshot", fixtures.snapshot_json(index, count)) if found else b""
            )
        case ("core", "virtual-machines", number):
            vm = int(number) - fixtures.FIRST_VM_ID
            found = 0 <= vm < fixtures.vm_count(count)
            return _single(b"true", b"instance", fixtures.vm_json(vm)) if found else b""
        case _:
            return b""


def _vm_name(vm: int, _count: int) -> str:
    return fixtures.vm_name(vm)


def _vm(vm: int, _count: int) -> bytes:
    return fixtures.vm_json(vm)


def _list(
    key: str,
    count: int,
    query: str,
    name: Callable[[int, int], str],
    render: Callable[[int, int], bytes],
) -> bytes:
    page_query = _parse_query(query)
    matching: Sequence[int] = range(count if key == "snapshots" else fixtures.vm_count(count))
    if page_query.search:
        matching = [index for index in matching if page_query.search in name(index, count)]
    page = matching[page_query.indexes.start : page_query.indexes.stop]
    head = {
        "status": True,
        "message": "Done",
        "count": len(matching),
        "page": page_query.page,
        "page_size": page_query.size,
    }
    entries = b",".join(render(index, count) for index in page)
    return json.dumps(head).encode()[:-1] + b',"' + key.encode() + b'":[' + entries + b"]}"


def _parse_query(query: str) -> PageQuery:
    values = dict(parse_qsl(query))
    size = min(int(values.get("pageSize", MAX_PAGE_SIZE)), MAX_PAGE_SIZE)
    return PageQuery(int(values.get("page", 1)), size, values.get("search", "").lower())


def _single(status: bytes, key: bytes, item: bytes) -> bytes:
    return b'{"status":' + status + b',"message":"Done","' + key + b'":' + item + b"}"


def main() -> None:
    """Serve until the process is ended."""
    uvicorn.run(
        Upstream(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT_SECONDS,
    )


if __name__ == "__main__":
    main()
