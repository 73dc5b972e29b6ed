"""The cloud that all servers of a run ask: generated answers, and a record of what was asked.

Every account is an address: `/SNAPSHOTS/DELAY/v1` has so many snapshots, and answers after so many
milliseconds. `/seen` tells what was asked since the last time that it was asked.

Usage: `python -m bench.upstream PORT`
"""

import json
import sys
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

import anyio
import uvicorn
from starlette.types import Receive, Scope, Send

from bench import fixtures

MAX_PAGE_SIZE = 100
KEPT_PAGES = 1_200
MOST_SEEN = 10_000
HTTP_OK = 200
HTTP_NOT_FOUND = 404
IDLE_SECONDS = 3_600
_MISSING = b'{"status":false,"message":"There is no such thing.","error_reason":"not_found"}'


class Asked(NamedTuple):
    """Which page of a list: its size, where it starts (1), and part of the names."""

    page: int
    size: int
    search: str

    @property
    def rows(self) -> range:
        """The positions that the page holds, however long the list is."""
        return range((self.page - 1) * self.size, self.page * self.size)


class Upstream:
    """The application."""

    def __init__(self) -> None:
        self._paths: deque[str] = deque(maxlen=MOST_SEEN)
        self._callers: set[tuple[str, int]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive
        if scope["path"] == "/seen":
            await _answer(send, HTTP_OK, self._seen())
            return
        query: str = scope["query_string"].decode()
        self._paths.append(f"{scope['path']}?{query}" if query else scope["path"])
        self._callers.add(scope["client"])
        _, count, delay, _, *path = scope["path"].split("/")
        if delay != "0":
            await anyio.sleep(int(delay) / 1_000)
        body = _body(tuple(path), int(count), query)
        await _answer(send, HTTP_OK if body else HTTP_NOT_FOUND, body or _MISSING)

    def _seen(self) -> bytes:
        # A pool opens a connection only when all others are in use, so they tell the concurrency.
        told = {"paths": list(self._paths), "connections": len(self._callers)}
        self._paths.clear()
        self._callers.clear()
        return json.dumps(told).encode()


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@lru_cache(maxsize=KEPT_PAGES)
def _body(path: tuple[str, ...], count: int, query: str) -> bytes:
    match path:
        case ("core", "snapshots"):
            return _list("snapshots", count, query, fixtures.snapshot_name, fixtures.snapshot)
        case ("core", "virtual-machines"):
            return _list("instances", count, query, _vm_name, _vm)
        case ("core", "snapshots", number):
            row = count - 1 - (int(number) - fixtures.snapshot_id(count - 1, count))
            found = 0 <= row < count
            return _single(b"200", b"snapshot", fixtures.snapshot(row, count)) if found else b""
        case ("core", "virtual-machines", number):
            vm = int(number) - fixtures.FIRST_VM_ID
            found = 0 <= vm < fixtures.vm_count(count)
            return _single(b"true", b"instance", fixtures.machine(vm)) if found else b""
        case _:
            return b""


def _vm_name(vm: int, _count: int) -> str:
    return fixtures.machine_name(vm)


def _vm(vm: int, _count: int) -> bytes:
    return fixtures.machine(vm)


def _list(
    key: str,
    count: int,
    query: str,
    name: Callable[[int, int], str],
    render: Callable[[int, int], bytes],
) -> bytes:
    asked = _asked(query)
    everything = range(count if key == "snapshots" else fixtures.vm_count(count))
    found = [it for it in everything if asked.search in name(it, count)] if asked.search else None
    matching = everything if found is None else found
    shown = matching[asked.rows.start : asked.rows.stop]
    head = {
        "status": True,
        "message": "Done",
        "count": len(matching),
        "page": asked.page,
        "page_size": asked.size,
    }
    entries = b",".join(render(it, count) for it in shown)
    return json.dumps(head).encode()[:-1] + b',"' + key.encode() + b'":[' + entries + b"]}"


def _asked(query: str) -> Asked:
    given = dict(parse_qsl(query))
    size = min(int(given.get("pageSize", MAX_PAGE_SIZE)), MAX_PAGE_SIZE)
    return Asked(int(given.get("page", 1)), size, given.get("search", "").lower())


def _single(status: bytes, key: bytes, thing: bytes) -> bytes:
    return b'{"status":' + status + b',"message":"Done","' + key + b'":' + thing + b"}"


def main() -> None:
    """Serve until the process is ended."""
    uvicorn.run(
        Upstream(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=IDLE_SECONDS,
    )


if __name__ == "__main__":
    main()
