"""The compared servers, and the testbed that starts them on a shared upstream."""

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

START_TIMEOUT_SECONDS = 30.0
_API_KEY = "bench"


class Server(NamedTuple):
    """One of the servers.

    Attributes:
        name: its name in the report.
        cold_arguments: arguments of Python that start it as users do.
        load_arguments: arguments of Python that start it for many calls.
        http_arguments: further arguments, before the port, that make it serve Streamable HTTP.
        size_argument: the argument of its list tool for the number of snapshots.
        inspect_tool: its tool that shows one snapshot, and that tool's argument for the id; None
            if it has none.
    """

    name: str
    cold_arguments: tuple[str, ...]
    load_arguments: tuple[str, ...]
    http_arguments: tuple[str, ...]
    size_argument: str
    inspect_tool: tuple[str, str] | None

    def list_arguments(self, count: int) -> dict[str, int]:
        """Return the arguments that list `count` snapshots; empty if that is the default."""
        return {} if count == LIST_SIZE and self.name != FASTMCP else {self.size_argument: count}


LIST_SIZE = 20
LIST_TOOL = "list_snapshots"
SNAPSHOT_MCP, BASELINE, FASTMCP, DIRECT = "snapshot-mcp", "baseline", "fastmcp", "direct"
SERVERS = (
    Server(
        SNAPSHOT_MCP,
        ("-m", "snapshot_mcp"),
        ("-m", "bench.snapshot_server"),
        ("serve", "--transport", "http", "--port"),
        "limit",
        ("inspect_snapshot", "snapshot_id"),
    ),
    Server(
        BASELINE,
        ("-m", "bench.baseline_server"),
        ("-m", "bench.baseline_server"),
        (),
        "page_size",
        None,
    ),
    Server(
        FASTMCP,
        ("-m", "bench.fastmcp_server"),
        ("-m", "bench.fastmcp_server"),
        (),
        "pageSize",
        ("get_snapshot", "id"),
    ),
)


def server_named(name: str) -> Server:
    """Return the server with this name."""
    return next(server for server in SERVERS if server.name == name)


class UpstreamRequests(NamedTuple):
    """Requests that the upstream received, and the number of connections that they used."""

    paths: list[str]
    connections: int


class Testbed:
    """Starts servers that use the upstream of this run.

    Args:
        port: the port of the upstream.
        folder: a temporary folder for the servers' files.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._folder = folder

    def account_url(self, snapshots: int, delay: int = 0) -> str:
        """Return the API URL of an account.

        Args:
            snapshots: the number of snapshots in the account.
            delay: milliseconds until the upstream answers.
        """
        return f"{self.origin}/{snapshots}/{delay}/v1"

    @property
    def origin(self) -> str:
        """Scheme, host and port of the upstream."""
        return f"http://127.0.0.1:{self._port}"

    def take_requests(self) -> UpstreamRequests:
        """Return the requests that the upstream received since the previous call."""
        recorded = httpx.get(f"{self.origin}/requests", trust_env=False).json()
        return UpstreamRequests(recorded["paths"], recorded["connections"])

    def start_cold(self, server: Server, snapshots: int) -> StdioClient:
        """Start a server over stdio as its users do."""
        environment = self.environment(self.account_url(snapshots))
        return StdioClient(_python(server.cold_arguments), environment)

    def start(self, server: Server, snapshots: int, delay: int = 0) -> StdioClient:
        """Start a server over stdio for many calls, and initialize the session."""
        environment = self.environment(self.account_url(snapshots, delay))
        client = StdioClient(_python(server.load_arguments), environment)
        client.initialize()
        return client

    @contextmanager
    def serve_http(self, server: Server, snapshots: int, **settings: str) -> Generator[int]:
        """Start a server over Streamable HTTP, wait until it listens, and yield its port."""
        port = _free_port()
        command = _python((*server.load_arguments, *server.http_arguments, str(port)))
        environment = self.environment(self.account_url(snapshots)) | settings
        with _running(command, environment, port):
            yield port

    def environment(self, url: str) -> dict[str, str]:
        """Return the environment variables of a server for the account at `url`."""
        # Every server has its own folder, so that none waits for another's database.
        folder = tempfile.mkdtemp(dir=self._folder)
        return _clean_environment() | {
            "BENCH_UPSTREAM": url,
            "SNAPSHOT_MCP_API_URL": url,
            "SNAPSHOT_MCP_API_KEY": _API_KEY,
            "SNAPSHOT_MCP_DATA_DIR": folder,
        }


@contextmanager
def start_testbed() -> Generator[Testbed]:
    """Start the upstream, yield the testbed, and end the upstream."""
    port = _free_port()
    command = _python(("-m", "bench.upstream", str(port)))
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _running(command, _clean_environment(), port),
    ):
        yield Testbed(port, Path(folder))


def direct_client(max_connections: int = 1) -> httpx.AsyncClient:
    """Return a plain HTTP client."""
    return httpx.AsyncClient(
        trust_env=False, timeout=60, limits=httpx.Limits(max_connections=max_connections)
    )


def _python(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def _clean_environment() -> dict[str, str]:
    removed = ("SNAPSHOT_MCP_", "HYPERSTACK_", "FASTMCP_", "PYTHON", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(removed)}


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
            _wait_until_listening(process, port)
            yield
        finally:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = monotonic() + START_TIMEOUT_SECONDS
    while monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.02)
        else:
            return
    raise RuntimeError(f"No process listens on port {port}: {process.args!r}")
