"""The stdio transport on pipes within this process, with the real server."""

import json
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from io import FileIO
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    JSONRPCNotification,
    JSONRPCResponse,
)

from snapshot_mcp.mcp_server.app import create_server
from snapshot_mcp.transports import stdio_transport
from snapshot_mcp.transports.stdio_messages import MAX_LINE_BYTES
from snapshot_mcp.transports.stdio_transport import StdioTransport
from tests.conftest import ERAS, World
from tests.waiting import ANSWER_TIMEOUT_SECONDS

pytestmark = pytest.mark.one_era

LEGACY, MODERN = ERAS
NOTEBOOK = 793701
Message = dict[str, Any]


class PipeClient:
    """A client on two pipes that sends lines and reads messages.

    Attributes:
        transport: the transport of the server.
        last_id: the id of the last request.
        gave_up: whether calls did not finish in time.
        ended: set when the server has ended.
    """

    def __init__(self, era: str, input_end_timeout: float) -> None:
        stdin, self._input = os.pipe()
        self._output, stdout = os.pipe()
        self._files = FileIO(stdin, "rb"), FileIO(stdout, "wb")
        self._era = era
        self._received = b""
        self._open = {self._input, self._output}
        self.last_id = 0
        self.gave_up = False
        self.ended = anyio.Event()
        self.transport = StdioTransport(*self._files, self._give_up, input_end_timeout)

    def _give_up(self) -> None:
        self.gave_up = True

    async def serve(self, world: World) -> None:
        server = create_server(
            world.settings, clock=world.manual_clock.clock, connect=world.connect
        )
        await self.transport.serve(server)
        self._files[1].close()
        self.ended.set()

    def close_input(self) -> None:
        self._close(self._input)

    def close_output(self) -> None:
        self._close(self._output)

    def close(self) -> None:
        self.close_input()
        self.close_output()
        for file in self._files:
            file.close()

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.remove(descriptor)
            os.close(descriptor)

    async def write(self, data: bytes) -> None:
        await to_thread.run_sync(os.write, self._input, data)

    async def write_line(self, line: bytes) -> None:
        rest = line + b"\n"
        while rest:
            rest = rest[await to_thread.run_sync(os.write, self._input, rest[:30_000]) :]

    async def request(self, method: str, /, **params: object) -> int:
        """Send a request and return its id."""
        self.last_id += 1
        if self._era == MODERN:
            params["_meta"] = {PROTOCOL_VERSION_META_KEY: MODERN, CLIENT_CAPABILITIES_META_KEY: {}}
        message = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        await self.write_line(json.dumps(message).encode())
        return self.last_id

    async def call(self, tool: str, /, **arguments: object) -> int:
        return await self.request("tools/call", name=tool, arguments=arguments)

    async def open(self, **capabilities: object) -> None:
        """Complete the handshake, if the era has one."""
        if self._era == LEGACY:
            info = {"name": "t", "version": "1"}
            await self.request(
                "initialize", protocolVersion=LEGACY, capabilities=capabilities, clientInfo=info
            )
            assert "result" in await self.receive()

    async def receive(self) -> Message:
        """Return the next message."""
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            while b"\n" not in self._received:
                chunk = await to_thread.run_sync(os.read, self._output, 65_536)
                assert chunk, "the server closed the output"
                self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    async def wait_for_end(self) -> None:
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            await self.ended.wait()


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@asynccontextmanager
async def connect(
    world: World, era: str, *, input_end_timeout: float = ANSWER_TIMEOUT_SECONDS
) -> AsyncGenerator[PipeClient]:
    client = PipeClient(era, input_end_timeout)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(client.serve, world)
            yield client
            with suppress(anyio.ClosedResourceError):
                client.transport.stop()
            client.close_output()
            await client.wait_for_end()
    finally:
        client.close()


def rejections(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "rejected" in record.msg]


async def test_each_unreadable_message_has_one_answer_and_one_log_line(
    world: World, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(world, era) as client:
        await client.open()
        damaged = b'{"jsonrpc":"2.0","id":90,"method":"tools/list","params":{"a":"%b"}}'
        lines = [damaged % b"\\ud800", damaged % b"\xff", damaged % b"\0", damaged[:50], b"[]"]
        for number, line in enumerate(lines):
            await client.write_line(line)
            answer = await client.receive()
            assert answer["error"]["code"] in {-32700, -32600}
            assert answer["id"] == (90 if number < 4 else None)
            assert len(rejections(caplog)) == number + 1
        assert all(len(line) < 300 for line in rejections(caplog))
        await client.write_line(b"")
        request = await client.request("tools/list")
        assert (await client.receive())["id"] == request


async def test_a_byte_order_mark_before_the_first_message_is_skipped(
    world: World, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(world, era) as client:
        await client.write(b"\xef\xbb\xbf")
        await client.open()
        request = await client.request("tools/list")
        answer = await client.receive()
        assert answer["id"] == request
        assert answer["result"]["tools"]
        assert rejections(caplog) == []


async def test_a_message_that_is_too_long_is_answered_and_the_next_one_is_served(
    world: World, era: str
) -> None:
    async with connect(world, era) as client:
        await client.open()
        long = await client.call("list_snapshots", search="x" * MAX_LINE_BYTES)
        answer = await client.receive()
        assert (answer["id"], answer["error"]["code"]) == (long, -32600)
        call = await client.call("list_snapshots", limit=1)
        assert (await client.receive())["id"] == call


async def test_a_second_request_with_the_id_of_an_open_one_is_rejected(
    world: World, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    release = anyio.Event()

    async def hold(_: object) -> None:
        await release.wait()

    async with connect(world, era) as client:
        await client.open()
        world.fail(hold)
        call = await client.call("list_snapshots")
        client.last_id -= 1
        assert await client.call("list_snapshots") == call
        answer = await client.receive()
        assert answer["id"] == call
        assert "in progress" in answer["error"]["message"]
        assert len(rejections(caplog)) == 1
        release.set()
        assert (await client.receive())["result"]["structuredContent"]["total"] > 0
        client.last_id -= 1
        assert await client.call("list_snapshots") == call  # the id is free again
        assert "result" in await client.receive()


async def test_requests_are_answered_after_stdin_has_ended(world: World, era: str) -> None:
    async with connect(world, era) as client:
        await client.open()
        requests = [await client.request("tools/list"), await client.call("list_snapshots")]
        create = {"vm_id": NOTEBOOK, "name": "piped", "allow_interruption": True}
        requests.append(await client.call("create_snapshot", **create, wait_seconds=60))
        client.close_input()
        answers = [await client.receive() for _ in requests]
        assert {answer["id"] for answer in answers} == set(requests)
        assert all("result" in answer for answer in answers)
        await client.wait_for_end()
        assert not client.gave_up
        assert not client.transport.output_closed
    assert [row.event for row in await world.attempts()] == ["sent", "done"]


async def test_the_last_message_needs_no_newline_and_a_cut_off_one_is_answered(
    world: World, era: str
) -> None:
    async with connect(world, era) as client:
        await client.open()
        await client.write(b'{"jsonrpc":"2.0","id":90,"method":"tools/li')
        client.close_input()
        answer = await client.receive()
        assert (answer["id"], answer["error"]["code"]) == (90, -32700)
        await client.wait_for_end()


async def test_a_call_that_takes_too_long_after_the_end_of_stdin_is_cancelled(
    world: World, era: str
) -> None:
    async def hang(_: object) -> None:
        await anyio.sleep_forever()

    async with connect(world, era, input_end_timeout=0.05) as client:
        await client.open()
        world.fail(hang)
        call = await client.call("list_snapshots")
        client.close_input()
        answer = await client.receive()
        assert answer["id"] == call
        assert "error" in answer
        await client.wait_for_end()
        assert client.gave_up


async def test_a_subscription_does_not_delay_the_end(world: World) -> None:
    async with connect(world, MODERN) as client:
        uris = {"resourceSubscriptions": ["snapshot://1701"]}
        await client.request("subscriptions/listen", notifications=uris)
        await client.receive()
        client.close_input()
        await client.wait_for_end()
        assert not client.gave_up


async def test_a_cancelled_call_does_not_delay_the_end(world: World) -> None:
    async def hang(_: object) -> None:
        await anyio.sleep_forever()

    async with connect(world, LEGACY) as client:
        await client.open()
        world.fail(hang)
        call = await client.call("list_snapshots")
        cancellation = {"method": "notifications/cancelled", "params": {"requestId": call}}
        await client.write_line(json.dumps({"jsonrpc": "2.0"} | cancellation).encode())
        client.close_input()
        await client.wait_for_end()
        assert not client.gave_up


@pytest.fixture
def short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio_transport, "DRAIN_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(stdio_transport, "_CHECK_INTERVAL_SECONDS", 0.01)


@pytest.mark.usefixtures("short_drain")
@pytest.mark.parametrize("closes_input", [False, True])
async def test_a_change_is_recorded_if_the_client_disconnects_during_it(
    world: World, era: str, caplog: pytest.LogCaptureFixture, *, closes_input: bool
) -> None:
    sent = anyio.Event()

    async def close(request: httpx.Request) -> None:
        if request.method == "POST":
            sent.set()
            client.close_output()
            if closes_input:
                client.close_input()

    async with connect(world, era) as client:
        await client.open()
        world.fail(close)
        create = {"vm_id": NOTEBOOK, "name": "disconnected", "allow_interruption": True}
        await client.call("create_snapshot", **create, wait_seconds=0)
        with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
            await sent.wait()
        await client.wait_for_end()
        assert client.transport.output_closed is not closes_input
    assert [row.event for row in await world.attempts()] == ["sent", "done"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("short_drain")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say that a pipe is closed")
async def test_a_client_that_has_ended_is_not_waited_for(world: World, era: str) -> None:
    async def hang(_: object) -> None:
        await anyio.sleep_forever()

    async with connect(world, era) as client:
        await client.open()
        world.fail(hang)
        await client.call("list_snapshots")
        client.close_output()
        client.close_input()
        await client.wait_for_end()
        assert client.gave_up


@pytest.mark.usefixtures("short_drain")
async def test_a_signal_lets_the_server_end_while_stdin_is_open(world: World, era: str) -> None:
    async with connect(world, era) as client:
        await client.open()
        call = await client.call("list_snapshots")
        assert (await client.receive())["id"] == call
        client.transport.stop()
        await client.wait_for_end()
        assert not client.gave_up
        assert not client.transport.output_closed


async def start_commit(client: PipeClient) -> tuple[int, Message]:
    """Let the server ask about a deletion; return the id of the call, and the question."""
    await client.open(elicitation={})
    await client.call("delete_snapshot", snapshot_id=1730)
    plan = (await client.receive())["result"]["structuredContent"]
    commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
    call = await client.call("delete_snapshot", snapshot_id=1730, **commit)
    question = await client.receive()
    assert question["method"] == "elicitation/create"
    return call, question


@pytest.mark.parametrize("ending", ["unreadable answer", "end of input"])
async def test_a_question_that_cannot_be_answered_gives_no_consent(
    world: World, ending: str
) -> None:
    async with connect(world, LEGACY) as client:
        call, question = await start_commit(client)
        if ending == "end of input":
            client.close_input()
        else:
            answer = b'{"jsonrpc":"2.0","id":%d,"result":{"content":{"words":"\\ud800"}}}'
            await client.write_line(answer % question["id"])
        answered = await client.receive()
        assert answered["id"] == call
        assert answered["result"]["isError"]
        assert world.writes == []


async def test_a_question_after_the_end_of_the_input_gives_no_consent(world: World) -> None:
    async with connect(world, LEGACY) as client:
        await client.open(elicitation={})
        await client.call("delete_snapshot", snapshot_id=1730)
        plan = (await client.receive())["result"]["structuredContent"]
        commit = {"plan_token": plan["plan_token"], "confirm": plan["confirm_with"]}
        call = await client.call("delete_snapshot", snapshot_id=1730, **commit)
        client.close_input()
        answer = await client.receive()
        if answer.get("method") == "elicitation/create":  # it came before the end
            answer = await client.receive()
        assert answer["id"] == call
        assert answer["result"]["isError"]
        assert world.writes == []


async def test_an_answered_question_is_not_answered_again_at_the_end(world: World) -> None:
    async with connect(world, LEGACY) as client:
        call, question = await start_commit(client)
        decline = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
        await client.write_line(json.dumps(decline).encode())
        client.close_input()
        answered = await client.receive()
        assert answered["id"] == call
        assert "declined" in answered["result"]["content"][0]["text"]
        await client.wait_for_end()


def test_a_response_that_utf_8_cannot_express_becomes_an_error() -> None:
    response = JSONRPCResponse(jsonrpc="2.0", id=7, result={"text": "\ud800"})
    encoded = json.loads(stdio_transport.encode_message(response))
    assert (encoded["id"], encoded["error"]["code"]) == (7, -32603)
    notification = JSONRPCNotification(jsonrpc="2.0", method="n", params={"text": "\ud800"})
    with pytest.raises(ValueError, match="surrogates"):
        stdio_transport.encode_message(notification)
