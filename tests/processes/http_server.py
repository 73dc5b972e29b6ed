"""A server over Streamable HTTP, in a process of its own."""

import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx

from tests.processes.helpers import MODULE, environment
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS, until

ACCEPT = {"accept": "application/json, text/event-stream"}


class HttpServer:
    """A running server on a port."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: IO[bytes]) -> None:
        self.process = process
        self.port = port
        self._output = output

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> list[str]:
        """The lines of stdout and stderr combined."""
        self._output.seek(0)
        return self._output.read().decode().splitlines()

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=ANSWER_TIMEOUT_SECONDS)

    def post_ping(self, **headers: str) -> httpx.Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        return httpx.post(
            f"{self.url}/mcp",
            json=message,
            headers=ACCEPT | headers,
            timeout=ANSWER_TIMEOUT_SECONDS,
        )

    def post_raw(self, body: str, **headers: str | list[str]) -> httpx.Response:
        """Post a body without changes; a list of values repeats a header."""
        all_headers = {"content-type": "application/json", **ACCEPT, **headers}
        header_items = [
            (name, value)
            for name, values in all_headers.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        return httpx.post(
            f"{self.url}/mcp", content=body, headers=header_items, timeout=ANSWER_TIMEOUT_SECONDS
        )

    def terminate(self) -> None:
        """End the process with SIGTERM, so that it records its coverage."""
        self.process.terminate()
        until(lambda: self.process.poll() is not None, "the end")

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.output
        with suppress(httpx.TransportError):
            return self.get("/health").is_success
        return False


@contextmanager
def http_server(
    folder: Path, port: int, *options: str, prefix: Sequence[str] = (), **settings: str
) -> Generator[HttpServer]:
    """Start a server over HTTP, wait until it responds, and kill it at the end.

    Without an API key in `settings`, it serves the embedded cloud. `prefix` is a command that
    replaces itself with the server.
    """
    if "SNAPSHOT_MCP_API_KEY" not in settings:
        settings["SNAPSHOT_MCP_CLOUD"] = "embedded"
    arguments = ["serve", "--transport", "http", "--port", str(port), *options]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            [*prefix, *MODULE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(folder, **settings),
        ) as process,
    ):
        server = HttpServer(process, port, output)
        try:
            until(server.is_up, "the start", START_TIMEOUT_SECONDS)
            yield server
        finally:
            process.kill()
