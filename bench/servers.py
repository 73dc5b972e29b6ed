"""The three servers, what starts them, and the upstream that they share."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import httpx

from bench.stdio_client import StdioClient

START_SECONDS = 30.0
_KEY = "bench"


class Server(NamedTuple):
    """One of the servers.

    Attributes:
        name: how it stands in the report.
        cold: the arguments of Python that start it as users do.
        loaded: those that start it for many calls in a row.
        http: what stands before the port to serve Streamable HTTP.
        size: the argument of its list tool for the number of rows.
        inspect: its tool that shows one snapshot, and the argument for the id; None: it has none.
    """

    name: str
    cold: tuple[str, ...]
    loaded: tuple[str, ...]
    http: tuple[str, ...]
    size: str
    inspect: tuple[str, str] | None

    def listing(self, rows: int) -> dict[str, int]:
        """The arguments that list so many snapshots: the defaults, where they say the same."""
        return {} if rows == LIST_ROWS and self.name != PEER else {self.size: rows}


LIST_ROWS = 20
LIST_TOOL = "list_snapshots"
OURS, BARE, PEER, DIRECT = "ours", "bare", "fastmcp", "direct"
SERVERS = (
    Server(
        OURS,
        ("-m", "snapshot_mcp"),
        ("-m", "bench.snapshot_server"),
        ("serve", "--transport", "http", "--port"),
        "limit",
        ("inspect_snapshot", "snapshot_id"),
    ),
    Server(
        BARE,
        ("-m", "bench.baseline_server"),
        ("-m", "bench.baseline_server"),
        (),
        "page_size",
        None,
    ),
    Server(
        PEER,
        ("-m", "bench.fastmcp_server"),
        ("-m", "bench.fastmcp_server"),
        (),
        "pageSize",
        ("get_snapshot", "id"),
    ),
)


def server_named(name: str) -> Server:
    """The server of this name."""
    return next(server for server in SERVERS if server.name == name)


class Asked(NamedTuple):
    """What was asked of the upstream, and on how many connections."""

    paths: list[str]
    connections: int


class World:
    """The upstream of a run, and a folder for what servers write.

    Args:
        port: where the upstream listens.
        folder: is thrown away in the end.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._folder = folder

    def url(self, snapshots: int, delay: int = 0) -> str:
        """The account with so many snapshots, which answers after `delay` milliseconds."""
        return f"{self.origin}/{snapshots}/{delay}/v1"

    @property
    def origin(self) -> str:
        """Scheme, host and port of the upstream."""
        return f"http://127.0.0.1:{self._port}"

    def seen(self) -> Asked:
        """What the upstream was asked since the last time that this was called."""
        told = httpx.get(f"{self.origin}/seen", trust_env=False).json()
        return Asked(told["paths"], told["connections"])

    def cold(self, server: Server, snapshots: int) -> StdioClient:
        """Start a server as its users do."""
        return StdioClient(_python(server.cold), self.environment(self.url(snapshots)))

    def loaded(self, server: Server, snapshots: int, delay: int = 0) -> StdioClient:
        """Start a server for many calls, and shake hands with it."""
        url = self.url(snapshots, delay)
        client = StdioClient(_python(server.loaded), self.environment(url))
        client.initialize()
        return client

    @contextmanager
    def over_http(self, server: Server, snapshots: int, **settings: str) -> Generator[int]:
        """Start a server on a port of its own, and wait until it answers there."""
        port = _free_port()
        command = _python((*server.loaded, *server.http, str(port)))
        with _running(command, self.environment(self.url(snapshots)) | settings, port):
            yield port

    def environment(self, url: str) -> dict[str, str]:
        """The environment of a server for this account."""
        # Every server has a folder of its own, so that none waits for another's database.
        folder = tempfile.mkdtemp(dir=self._folder)
        return _clean_environment() | {
            "BENCH_UPSTREAM": url,
            "SNAPSHOT_MCP_API_URL": url,
            "SNAPSHOT_MCP_API_KEY": _KEY,
            "SNAPSHOT_MCP_DATA_DIR": folder,
        }


@contextmanager
def world() -> Generator[World]:
    """Start the upstream, and end it."""
    port = _free_port()
    command = _python(("-m", "bench.upstream", str(port)))
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _running(command, _clean_environment(), port),
    ):
        yield World(port, Path(folder))


def direct_client(concurrency: int = 1) -> httpx.AsyncClient:
    """A bare HTTP client, with as many connections as may be used at once."""
    return httpx.AsyncClient(
        trust_env=False, timeout=60, limits=httpx.Limits(max_connections=concurrency)
    )


def _python(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def _clean_environment() -> dict[str, str]:
    ours = ("SNAPSHOT_MCP_", "HYPERSTACK_", "FASTMCP_", "PYTHON", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _running(
    command: tuple[str, ...], environment: Mapping[str, str], port: int
) -> Generator[None]:
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=dict(environment),
        )
        try:
            _wait_for(process, port)
            yield
        finally:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.02)
        else:
            return
    raise RuntimeError(f"Nothing listens at port {port}: {process.args!r}")
