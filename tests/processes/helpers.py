"""Helpers for tests with real processes, pipes, ports and files."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition, Thread
from typing import IO, Any, cast

import anyio
import httpx
import uvicorn
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from snapshot_mcp.mcp_server.tools.toolsets import TOOLS as DECLARED_TOOLS
from snapshot_mcp.sandbox.app import create_app
from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS, until

MODULE = (sys.executable, "-m", "snapshot_mcp")
SCRIPT = (str(Path(sysconfig.get_path("scripts")) / "snapshot-mcp"),)
COMMANDS = {"module": MODULE, "script": SCRIPT}

TOOLS = {tool.name for tool in DECLARED_TOOLS}
EMBEDDED_NOTE = (
    "snapshot-mcp: there is no API key, so the embedded cloud is used."
    " Set SNAPSHOT_MCP_API_KEY to use the real cloud."
)
REQUESTED_NOTE = "snapshot-mcp: SNAPSHOT_MCP_CLOUD requests it, so the embedded cloud is used."
KEY = "k3y-0d5e8f6a-not-for-eyes"
LEGACY_VERSION = "2025-11-25"
Message = dict[str, Any]


def environment(folder: Path | str, **settings: str) -> dict[str, str]:
    """Return the environment of this process, with only the given settings of the server."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SNAPSHOT_MCP_", "HYPERSTACK_"))
    }
    return clean | {"SNAPSHOT_MCP_DATA_DIR": str(folder)} | settings


def run_command(
    *arguments: str, env: dict[str, str], within: float = START_TIMEOUT_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, and return its output."""
    return subprocess.run(
        [*MODULE, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env=env,
        timeout=within,
        check=False,
    )


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class StdioServer:
    """A server over stdio, driven with raw JSON-RPC; every line of its output is kept."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self.process = process
        self._errors = errors
        self._changed = Condition()
        self._lines: list[str] = []
        self._ended = False
        self._last_id = 0
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line.decode())
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def messages(self) -> list[Message]:
        """The messages received so far; every line must be one JSON-RPC message."""
        with self._changed:
            return [parse_message(line) for line in self._lines]

    @property
    def stdout(self) -> str:
        with self._changed:
            return "".join(self._lines)

    @property
    def stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode()

    def write_line(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send_notification(self, method: str, **params: object) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.write_line(json.dumps(message).encode())

    def send_request(self, method: str, **params: object) -> int:
        """Send a request and return its id, without waiting for the response."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self.write_line(json.dumps(message).encode())
        return self._last_id

    def start_call(self, tool: str, /, **arguments: object) -> int:
        """Send a tool call and return its id, without waiting for the response."""
        return self.send_request("tools/call", name=tool, arguments=arguments)

    def wait_for_message(self, condition: Callable[[Message], bool]) -> Message:
        """Return the first message, received already or later, that fulfils the condition."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or any(condition(message) for message in self.messages),
                START_TIMEOUT_SECONDS,  # the first response comes after the start
            )
            match = next((message for message in self.messages if condition(message)), None)
        assert match is not None, f"no response; stderr: {self.stderr}"
        return match

    def wait_for_response(self, request: int) -> Message:
        return self.wait_for_message(lambda message: message.get("id") == request)

    def initialize(self) -> Message:
        info = {"name": "test", "version": "1"}
        request = self.send_request(
            "initialize", protocolVersion=LEGACY_VERSION, capabilities={}, clientInfo=info
        )
        result = self.wait_for_response(request)["result"]
        self.send_notification("notifications/initialized")
        return result

    def list_tools(self) -> list[str]:
        listed = self.wait_for_response(self.send_request("tools/list"))["result"]["tools"]
        return [tool["name"] for tool in listed]

    def call_tool(self, tool: str, /, **arguments: object) -> Message:
        """Call a tool that must succeed, and return its structured content."""
        return structured_content(self.wait_for_response(self.start_call(tool, **arguments)))

    def call_tool_error(self, tool: str, /, **arguments: object) -> str:
        """Call a tool that must return an error, and return its text."""
        return error_text(self.wait_for_response(self.start_call(tool, **arguments)))

    def close_stdin(self) -> int:
        """Close stdin, wait for the end of the process, and return its exit code."""
        assert self.process.stdin
        self.process.stdin.close()
        code = self.process.wait(ANSWER_TIMEOUT_SECONDS)
        self._reader.join(ANSWER_TIMEOUT_SECONDS)
        return code

    def kill(self) -> None:
        """Kill the process, and read the rest of its output."""
        self.process.kill()
        self.process.wait(ANSWER_TIMEOUT_SECONDS)
        self._reader.join(ANSWER_TIMEOUT_SECONDS)
        assert not self._reader.is_alive()


@contextmanager
def stdio_server(
    folder: Path, *, command: Sequence[str] = MODULE, **settings: str
) -> Generator[StdioServer]:
    """Start a server over stdio, and kill it at the end."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(folder, **settings),
        ) as process,
    ):
        server = StdioServer(process, errors)
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def ready_server(folder: Path, **settings: str) -> Generator[StdioServer]:
    """Start a server over stdio, complete its handshake, and end it by closing stdin."""
    with stdio_server(folder, **settings) as server:
        server.initialize()
        yield server
        assert server.close_stdin() == 0


def parse_message(line: str) -> Message:
    """Return the JSON-RPC message of a line, which must be valid."""
    parsed: object = json.loads(line)
    assert isinstance(parsed, dict), line
    message = cast("Message", parsed)
    assert message.get("jsonrpc") == "2.0", line
    kinds = {"method", "result", "error"} & message.keys()
    assert len(kinds) == 1, line
    assert "method" in kinds or "id" in message, line
    return message


def structured_content(response: Message) -> Message:
    """Return the structured content of a response that is not an error."""
    result = response["result"]
    assert not result.get("isError"), result
    return result["structuredContent"]


def error_text(response: Message) -> str:
    """Return the text of a response that is an error of the tool."""
    result = response["result"]
    assert result.get("isError") is True, result
    assert result.get("structuredContent", {}).keys() <= {"retry_after", "embedded_cloud"}
    return "\n".join(part["text"] for part in result["content"])


class RequestBarrier:
    """Delays requests for a path until a number of them are waiting."""

    def __init__(self, path: str, parties: int) -> None:
        self._path = path
        self._parties = parties
        self._complete = anyio.Event()
        self.waiting = 0

    async def wait(self, path: str) -> None:
        if path == self._path:
            self.waiting += 1
            if self.waiting == self._parties:
                self._complete.set()
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                await self._complete.wait()


async def never_respond(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Send no response until the caller disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


HTML_RESPONSE = HTMLResponse(f"<html><title>Sign in</title><p>{KEY}</p></html>")


@contextmanager
def serve_in_thread(app: ASGIApp, port: int) -> Generator[None]:
    """Serve `app` on 127.0.0.1 in a thread of this process."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            until(lambda: server.started, "the start", START_TIMEOUT_SECONDS)
            yield
        finally:
            server.should_exit = True
            thread.join(ANSWER_TIMEOUT_SECONDS)
            assert not thread.is_alive()


class Upstream:
    """The embedded cloud on a real port, which records the requests that it receives.

    Attributes:
        requests: method and path of every request.
        replacement: an application that handles the `replaced_methods` in place of the cloud.
        barrier: delays requests until others are waiting.
        frozen_time: the time of a stopped clock, with which operations never complete.
    """

    def __init__(self, database: Path, key: str = KEY) -> None:
        self._app = create_app(database=database, api_key=key, now=self.now)
        self.port = free_port()
        self.requests: list[str] = []
        self.replacement: ASGIApp | None = None
        self.replaced_methods: Collection[str] = ("GET", "POST", "DELETE")
        self.barrier: RequestBarrier | None = None
        self.frozen_time: datetime | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(f"{scope['method']} {scope['path']}")
        if self.barrier is not None:
            await self.barrier.wait(scope["path"])
        if self.replacement is not None and scope["method"] in self.replaced_methods:
            await self.replacement(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def now(self) -> datetime:
        return self.frozen_time or datetime.now(UTC)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a server that uses it."""
        return {"SNAPSHOT_MCP_API_URL": self.url, "SNAPSHOT_MCP_API_KEY": KEY}

    @property
    def writes(self) -> list[str]:
        """The requests that may change something."""
        return [request for request in self.requests if not request.startswith("GET ")]

    def post(self, path: str, body: object) -> None:
        """Send a request that is not recorded, as from another client."""
        headers = {"api_key": KEY}
        response = httpx.post(
            self.url + path, json=body, headers=headers, timeout=ANSWER_TIMEOUT_SECONDS
        )
        assert response.is_success, response.text
        self.requests.remove(f"POST /v1{path}")

    @contextmanager
    def serve(self) -> Generator["Upstream"]:
        """Serve in a thread of this process."""
        with serve_in_thread(self, self.port):
            yield self


def list_ready_snapshots(server: StdioServer) -> list[Message]:
    """Return all ready snapshots, newest first."""
    return server.call_tool("list_snapshots", state="ready", limit=100)["snapshots"]


def target_arguments(tool: str, snapshot_id: int, new_vm_name: str) -> dict[str, object]:
    """Return the arguments that the tool needs besides plan_token and confirm."""
    name = {"new_vm_name": new_vm_name} if tool == "restore_snapshot" else {}
    return {"snapshot_id": snapshot_id, **name}


def commit_arguments(
    server: StdioServer, tool: str, arguments: dict[str, object]
) -> dict[str, object]:
    """Create a plan and return the arguments that commit it."""
    plan = server.call_tool(tool, **arguments)
    assert plan["outcome"] == "confirmation_required"
    return arguments | {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
