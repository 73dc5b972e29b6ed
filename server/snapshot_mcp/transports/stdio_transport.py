"""One client on two file descriptors: answers each message, and lets calls finish at the end.

The SDK's `stdio_server` ignores messages that it cannot read, cancels all calls when stdin ends,
and raises an exception when stdout is closed.
"""

import asyncio
import logging
import math
import select
import sys
from collections.abc import AsyncGenerator, Callable
from io import FileIO
from threading import Semaphore, Thread
from typing import cast

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from snapshot_mcp.mcp_server.app import McpServer
from snapshot_mcp.transports.shutdown import DRAIN_TIMEOUT_SECONDS
from snapshot_mcp.transports.stdio_messages import (
    Line,
    LineSplitter,
    UnreadableMessageError,
    parse_message,
)

INPUT_END_TIMEOUT_SECONDS = 60.0
"""Seconds that calls may continue after stdin has ended, while the client still reads stdout."""

_CHUNK_BYTES = 65_536
_CHECK_INTERVAL_SECONDS = 0.5
_SUBSCRIPTION = "subscriptions/listen"
"""Method of a request whose response comes only when the client cancels it."""

Incoming = MemoryObjectSendStream[SessionMessage | Exception]

logger = logging.getLogger(__name__)


class StdioTransport:
    """The connection to one client.

    Args:
        stdin: the input.
        stdout: the output.
        on_drain_timeout: called when calls have not finished in time; they are then cancelled.
        input_end_timeout: seconds that calls may continue after the end of the input.

    Attributes:
        output_closed: whether the client closed stdout before it closed stdin.
    """

    def __init__(
        self,
        stdin: FileIO,
        stdout: FileIO,
        on_drain_timeout: Callable[[], object],
        input_end_timeout: float = INPUT_END_TIMEOUT_SECONDS,
    ) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._on_drain_timeout = on_drain_timeout
        self._input_end_timeout = input_end_timeout
        self._chunks, self._received_chunks = anyio.create_memory_object_stream[bytes](math.inf)
        self._may_read = Semaphore(1)
        self._writing = anyio.Lock()
        self._is_writable = True
        self._input_ended = False
        self._drain_scope = anyio.CancelScope()
        self._pending: dict[str, str] = {}
        self._answered = anyio.Event()
        self._questions: set[RequestId] = set()
        self.output_closed = False

    async def serve(self, server: McpServer) -> None:
        """Serve until the input ends, the output is closed, or `stop` is called."""
        incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception]()
        outgoing, sent = anyio.create_memory_object_stream[SessionMessage]()
        with self._chunks, self._received_chunks:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, incoming)
                group.start_soon(self._write, sent, incoming)
                await server.run(received, outgoing, server.create_initialization_options())

    def stop(self) -> None:
        """Read no more, and cancel the calls that have not finished after a few seconds."""
        self._chunks.send_nowait(b"")
        self._limit_drain(DRAIN_TIMEOUT_SECONDS)

    async def _read(self, incoming: Incoming) -> None:
        async with incoming:
            async for line in self._lines():
                await self._receive(line, incoming)
            self._input_ended = True
            for question in list(self._questions):
                await self._fail_question(question, incoming)
            await self._drain()

    async def _lines(self) -> AsyncGenerator[Line]:
        # Windows cannot wait for a pipe, and no system can interrupt a thread that reads: only a
        # daemon does not keep the process alive.
        loop = asyncio.get_running_loop()
        Thread(target=self._read_chunks, args=(loop,), daemon=True).start()
        splitter = LineSplitter()
        while chunk := await self._received_chunks.receive():
            for line in splitter.split(chunk):
                yield line
            self._may_read.release()
        for line in splitter.finish():
            yield line

    def _read_chunks(self, loop: asyncio.AbstractEventLoop) -> None:
        has_ended = False
        while not has_ended:
            self._may_read.acquire()
            try:
                chunk = self._stdin.read(_CHUNK_BYTES) or b""
            except OSError:  # the terminal is gone
                chunk = b""
            has_ended = not chunk
            try:
                loop.call_soon_threadsafe(self._add_chunk, chunk)
            except RuntimeError:  # the server has ended
                return

    def _add_chunk(self, chunk: bytes) -> None:
        try:
            self._chunks.send_nowait(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            logger.debug("dropped input after the end")

    async def _receive(self, line: Line, incoming: Incoming) -> None:
        try:
            message = parse_message(line)
            if isinstance(message, JSONRPCRequest):
                self._add_request(message)
        except UnreadableMessageError as error:
            logger.warning("rejected a message of %d bytes on stdin: %s", line.size, error)
            data = ErrorData(code=error.code, message=str(error))
            for request_id in error.request_ids:
                await self._send(JSONRPCError(jsonrpc="2.0", id=request_id, error=data))
            for question in error.answered_ids:
                await self._fail_question(question, incoming)
            return
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._remove_request((message.params or {}).get("requestId"))
        elif isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._questions.discard(message.id)
        if message is not None:
            await incoming.send(SessionMessage(message))

    def _add_request(self, request: JSONRPCRequest) -> None:
        if str(request.id) in self._pending:
            reason = "Another request with this id is in progress, so this one was not started."
            raise UnreadableMessageError(reason, INVALID_REQUEST, [request.model_dump()])
        self._pending[str(request.id)] = request.method

    def _remove_request(self, request_id: object) -> None:
        self._pending.pop(str(request_id), None)
        self._wake_drain()

    def _wake_drain(self) -> None:
        self._answered.set()
        self._answered = anyio.Event()

    async def _fail_question(self, question: RequestId, incoming: Incoming) -> None:
        """Let a request of this server fail, because the client cannot answer it any more."""
        self._questions.discard(question)
        data = ErrorData(code=CONNECTION_CLOSED, message="The client sent no readable answer.")
        await incoming.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=question, error=data)))

    async def _drain(self) -> None:
        """Wait until every request is answered, as long as that is of use and within the limit."""
        self._limit_drain(self._input_end_timeout)
        with self._drain_scope:
            while self._is_busy:
                if not self._is_writable or _is_closed(self._stdout):
                    self._limit_drain(DRAIN_TIMEOUT_SECONDS)
                with anyio.move_on_after(_CHECK_INTERVAL_SECONDS):
                    await self._answered.wait()
        if self._is_busy:
            self._on_drain_timeout()

    def _limit_drain(self, seconds: float) -> None:
        limit = anyio.current_time() + seconds
        self._drain_scope.deadline = min(self._drain_scope.deadline, limit)

    @property
    def _is_busy(self) -> bool:
        is_pending = any(method != _SUBSCRIPTION for method in self._pending.values())
        return is_pending or self._writing.locked()

    async def _write(
        self, sent: MemoryObjectReceiveStream[SessionMessage], incoming: Incoming
    ) -> None:
        async with sent:
            async for item in sent:
                message = item.message
                if isinstance(message, JSONRPCRequest):
                    if self._input_ended:
                        await self._fail_question(message.id, incoming)
                        continue
                    self._questions.add(message.id)
                elif isinstance(message, JSONRPCResponse | JSONRPCError):
                    # The client may use the id again as soon as it has the answer.
                    self._pending.pop(str(message.id), None)
                await self._send(message)
                self._wake_drain()

    async def _send(self, message: JSONRPCMessage) -> None:
        line = encode_message(message) + b"\n"
        try:
            async with self._writing:
                if self._is_writable:
                    await anyio.to_thread.run_sync(_write_all, self._stdout, line)
        except OSError as error:
            self._is_writable = False
            self.output_closed = not self._input_ended
            logger.info("stdout cannot be written: %s", type(error).__name__)
            self.stop()


def encode_message(message: JSONRPCMessage) -> bytes:
    """Return the JSON of a message; of an error, if UTF-8 cannot express the message."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode()
    except ValueError:
        if not isinstance(message, JSONRPCResponse):
            raise
        logger.exception("a response cannot be encoded")
        error = ErrorData(code=INTERNAL_ERROR, message="The response cannot be encoded.")
        return encode_message(JSONRPCError(jsonrpc="2.0", id=message.id, error=error))


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[cast("int", file.write(rest)) :]


def _is_closed(output: FileIO) -> bool:
    """Return whether nothing reads the output any more; False if the system does not say so."""
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(output.fileno(), 0)
    return bool(poll.poll(0))
