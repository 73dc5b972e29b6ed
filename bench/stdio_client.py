"""The client over stdio: plain JSON-RPC, so that its cost is small and the same for all servers.

The time of an answer is taken when its last byte has been read, before it is parsed.
"""

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Self

Message = dict[str, Any]

PROTOCOL = "2025-11-25"
"""The protocol version with `initialize`, which current clients use and all servers support."""

ANSWER_TIMEOUT_SECONDS = 180.0
_CHUNK_BYTES = 1 << 18
_HEAD_BYTES = 120
_CLIENT_INFO = {"name": "bench", "version": "1"}


class Answer(NamedTuple):
    """A received line, and when it was received (by `perf_counter`)."""

    received_at: float
    line: bytes


class StdioClient:
    """A server process that is connected by pipes.

    Args:
        command: the command that starts it.
        environment: all of its environment variables.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self.started = perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(environment),
            bufsize=0,
        )
        self._buffer = bytearray()
        self._scanned = 0
        self._last_id = 0

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def initialize(self) -> None:
        """Initialize the session."""
        self.send("initialize", protocolVersion=PROTOCOL, capabilities={}, clientInfo=_CLIENT_INFO)
        parse_result(self.next_answer())
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, method: str, **params: object) -> None:
        """Send a request without waiting for the answer."""
        self._last_id += 1
        self._write({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})

    def send_call(self, tool: str, arguments: Mapping[str, object]) -> None:
        """Send a tool call without waiting for the answer."""
        self.send("tools/call", name=tool, arguments=arguments)

    def next_answer(self) -> Answer:
        """Return the next answer to any request, skipping notifications."""
        while True:
            line = self._read_line()
            if b'"method"' not in line[:_HEAD_BYTES]:
                return Answer(perf_counter(), line)

    def timed_call(self, tool: str, arguments: Mapping[str, object]) -> float:
        """Call a tool, which must succeed, and return the seconds until the complete answer."""
        sent = perf_counter()
        self.send_call(tool, arguments)
        answer = self.next_answer()
        parse_tool_result(answer)
        return answer.received_at - sent

    def call(self, tool: str, arguments: Mapping[str, object]) -> Message:
        """Call a tool, which must succeed, and return its result."""
        self.send_call(tool, arguments)
        return parse_tool_result(self.next_answer())

    def kill(self) -> None:
        """End the process immediately."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _write(self, message: Message) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            pipe.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._buffer)
            self._buffer += self._read_chunk()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    def _read_chunk(self) -> bytes:
        pipe = self._process.stdout
        if pipe is None or not select.select([pipe], [], [], ANSWER_TIMEOUT_SECONDS)[0]:
            raise RuntimeError(f"No answer within {ANSWER_TIMEOUT_SECONDS:g} s. {self._stderr()}")
        chunk = os.read(pipe.fileno(), _CHUNK_BYTES)
        if not chunk:
            raise RuntimeError(f"The server process ended. {self._stderr()}")
        return chunk

    def _stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2_000:]


def parse_result(answer: Answer) -> Message:
    """Return the result of an answer.

    Raises:
        RuntimeError: the answer is an error.
    """
    message: Message = json.loads(answer.line)
    if "result" not in message:
        raise RuntimeError(f"The server answered with an error: {str(message)[:500]}")
    return message["result"]


def parse_tool_result(answer: Answer) -> Message:
    """Return the result of a tool call.

    Raises:
        RuntimeError: the call failed.
    """
    result = parse_result(answer)
    if result.get("isError"):
        raise RuntimeError(f"The tool answered with an error: {text_of(result)[:500]}")
    return result


def text_of(result: Message) -> str:
    """Return the text content of a result."""
    return "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
