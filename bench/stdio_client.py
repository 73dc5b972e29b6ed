"""The client over stdio: raw JSON-RPC, so that its cost is small and the same for all servers.

An answer counts as arrived when its last byte is read; it is parsed after the clock was looked at.
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
"""The handshake with `initialize`: what the clients of today send, and all three servers answer."""

TIMEOUT_SECONDS = 180.0
"""No answer takes longer, unless something is broken."""

_CHUNK_BYTES = 1 << 18
_HEAD_BYTES = 120
_INFO = {"name": "bench", "version": "1"}


class Arrived(NamedTuple):
    """A line that arrived, and when."""

    at: float
    line: bytes


class StdioClient:
    """A server on pipes.

    Args:
        command: what starts it.
        environment: its environment, as a whole.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self.started = perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(environment),
            bufsize=0,
        )
        self._received = bytearray()
        self._scanned = 0
        self._last_id = 0

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def initialize(self) -> None:
        """Shake hands."""
        self.send("initialize", protocolVersion=PROTOCOL, capabilities={}, clientInfo=_INFO)
        result_of(self.next_answer())
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, method: str, **params: object) -> None:
        """Send a request and do not wait."""
        self._last_id += 1
        self._write({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})

    def send_call(self, tool: str, arguments: Mapping[str, object]) -> None:
        """Send a tool call and do not wait."""
        self.send("tools/call", name=tool, arguments=arguments)

    def next_answer(self) -> Arrived:
        """The next answer to any request; what else the server says is passed over."""
        while True:
            line = self._line()
            if b'"method"' not in line[:_HEAD_BYTES]:
                return Arrived(perf_counter(), line)

    def timed_call(self, tool: str, arguments: Mapping[str, object]) -> float:
        """Call a tool, which must succeed; the seconds from the request to the whole answer."""
        sent = perf_counter()
        self.send_call(tool, arguments)
        answer = self.next_answer()
        succeeded(answer)
        return answer.at - sent

    def call(self, tool: str, arguments: Mapping[str, object]) -> Message:
        """Call a tool, which must succeed; its result."""
        self.send_call(tool, arguments)
        return succeeded(self.next_answer())

    def end(self) -> None:
        """End its process, at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _write(self, message: Message) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            pipe.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _line(self) -> bytes:
        while (end := self._received.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._received)
            self._received += self._read()
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self._scanned = 0
        return line

    def _read(self) -> bytes:
        pipe = self._process.stdout
        if pipe is None or not select.select([pipe], [], [], TIMEOUT_SECONDS)[0]:
            raise RuntimeError(f"No answer within {TIMEOUT_SECONDS:g} s. {self._said()}")
        chunk = os.read(pipe.fileno(), _CHUNK_BYTES)
        if not chunk:
            raise RuntimeError(f"The server ended. {self._said()}")
        return chunk

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2_000:]


def result_of(answer: Arrived) -> Message:
    """The result of an answer, which must be none of an error."""
    message: Message = json.loads(answer.line)
    if "result" not in message:
        raise RuntimeError(f"The server answered an error: {str(message)[:500]}")
    return message["result"]


def succeeded(answer: Arrived) -> Message:
    """The result of a tool call that worked."""
    result = result_of(answer)
    if result.get("isError"):
        raise RuntimeError(f"The tool answered an error: {text_of(result)[:500]}")
    return result


def text_of(result: Message) -> str:
    """The text of a result."""
    return "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
