"""The command over stdio, as MCP clients start it."""

import json
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.conftest import ERAS, call_tool, call_tool_error
from tests.processes.helpers import (
    COMMANDS,
    EMBEDDED_NOTE,
    KEY,
    LEGACY_VERSION,
    MODULE,
    TOOLS,
    environment,
    free_port,
    stdio_server,
    until,
)

# Windows has no signals between processes, only termination.
SIGNALS = [signal.SIGTERM] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("command", ["module", pytest.param("script", marks=pytest.mark.slow)])
def test_the_handshake_succeeds_and_exactly_the_tools_are_listed(
    command: str, tmp_path: Path
) -> None:
    with stdio_server(tmp_path, command=COMMANDS[command]) as server:
        initialize_result = server.initialize()
        assert initialize_result["protocolVersion"] == LEGACY_VERSION
        assert initialize_result["serverInfo"]["name"] == "snapshot-mcp"
        tools = server.list_tools()
        assert len(tools) == len(TOOLS)
        assert set(tools) == TOOLS
        assert list(tmp_path.iterdir()) == []
        assert server.close_stdin() == 0
        assert len(server.messages) == 2
        assert server.stderr.splitlines() == [EMBEDDED_NOTE]


@pytest.mark.parametrize("mode", [pytest.param(ERAS[0], marks=pytest.mark.slow), ERAS[1]])
async def test_a_client_of_each_era_lists_and_calls_the_tools(mode: str, tmp_path: Path) -> None:
    parameters = StdioServerParameters(
        command=MODULE[0], args=[*MODULE[1:]], env=environment(tmp_path)
    )
    with tempfile.TemporaryFile("w+") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            page = await call_tool(client, "list_snapshots", state="ready", limit=1)
            plan = await call_tool(
                client, "delete_snapshot", snapshot_id=page["snapshots"][0]["id"]
            )
            assert plan["outcome"] == "confirmation_required"
            assert (
                "no vm 1"
                in (
                    await call_tool_error(client, "create_snapshot", vm_id=1, name="nothing")
                ).lower()
            )
        errors.seek(0)
        assert errors.read().splitlines() == [EMBEDDED_NOTE]


def test_invalid_input_gets_only_json_rpc_output_and_the_server_stays_usable(
    tmp_path: Path,
) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        for garbage in (b"garbage", b"[]", b"{}", b"null", b'{"jsonrpc":', b"\xff\xfe\x00", b""):
            server.write_line(garbage)
        unknown_tool = server.send_request("tools/call", name="format_disk", arguments={})
        assert server.wait_for_response(unknown_tool)["result"]["isError"] is True
        unknown_method = server.send_request("no/such/method")
        assert "error" in server.wait_for_response(unknown_method)
        assert "is missing" in server.call_tool_error("delete_snapshot")
        assert server.call_tool("list_snapshots")["total"] > 0
        assert "force" in server.call_tool_error("delete_snapshot", snapshot_id=1, force=True)
        assert set(server.list_tools()) == TOOLS
        assert server.close_stdin() == 0
        assert len(server.messages) >= 7
        assert server.stdout.endswith("\n")
        assert server.stderr.count(EMBEDDED_NOTE) == 1
        assert "Traceback" not in server.stderr


@pytest.mark.slow
def test_a_cancelled_call_ends_and_the_server_continues(tmp_path: Path) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        vm_id = next(
            vm["id"]
            for vm in server.call_tool("list_virtual_machines")["virtual_machines"]
            if vm["can_snapshot"]
        )
        arguments = {
            "vm_id": vm_id,
            "name": "cancelled",
            "allow_interruption": True,
            "wait_seconds": 300,
        }
        call = server.send_request(
            "tools/call",
            name="create_snapshot",
            arguments=arguments,
            _meta={"progressToken": "way"},
        )
        server.wait_for_message(lambda message: message.get("method") == "notifications/progress")
        server.send_notification("notifications/cancelled", requestId=call, reason="enough")
        page = server.call_tool("list_snapshots", search="cancelled")
        assert [snapshot["state"] for snapshot in page["snapshots"]] == ["pending"]
        assert server.close_stdin() == 0
        results = [
            message
            for message in server.messages
            if message.get("id") == call and "result" in message
        ]
        assert results == []
        assert "Traceback" not in server.stderr


@pytest.mark.slow
def test_the_key_appears_nowhere_even_if_every_call_fails(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    settings = {"SNAPSHOT_MCP_API_KEY": KEY, "SNAPSHOT_MCP_API_URL": url}
    with stdio_server(tmp_path, **settings) as server:
        server.initialize()
        texts = [
            server.call_tool_error("list_snapshots"),
            server.call_tool_error("delete_snapshot", snapshot_id=1701),
            server.call_tool_error("create_snapshot", vm_id=1, name="x"),
        ]
        # After a few failures, the circuit breaker sends no requests.
        assert all("could not be reached" in text or "has not answered" in text for text in texts)
        assert all("Nothing was changed." in text for text in texts)
        assert server.close_stdin() == 0
        assert server.stderr == ""
        assert KEY not in server.stdout
        assert KEY not in json.dumps(server.messages)
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.usefixtures("measured")
def test_closing_stdin_during_a_wait_ends_the_server(tmp_path: Path) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        vm_id = server.call_tool("list_virtual_machines", search="notebook")["virtual_machines"][0][
            "id"
        ]
        server.send_request(
            "tools/call",
            name="create_snapshot",
            arguments={"vm_id": vm_id, "name": "abandoned", "wait_seconds": 300},
            _meta={"progressToken": 1},
        )
        server.wait_for_message(lambda message: message.get("method") == "notifications/progress")
        assert server.process.stdin
        server.process.stdin.close()
        until(lambda: server.process.poll() is not None, "the end")
        assert server.process.returncode == 0


@pytest.mark.slow
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("end_signal", SIGNALS, ids=lambda end_signal: end_signal.name)
def test_a_signal_ends_the_server_while_its_stdin_is_still_open(
    end_signal: signal.Signals, tmp_path: Path
) -> None:
    with stdio_server(tmp_path) as server:
        server.initialize()
        assert set(server.list_tools()) == TOOLS
        server.process.send_signal(end_signal)
        until(lambda: server.process.poll() is not None, "the end")
        assert server.process.returncode != 0
        assert len(server.messages) == 2
        assert server.stderr.splitlines() == [EMBEDDED_NOTE]
